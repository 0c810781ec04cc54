#!/bin/sh
# Generated from models/resnet18.py by `python -m models record resnet18`.
#
# Builds the plan of `resnet18` for the GPU of this host: a plan runs on the kind of GPU and the
# release of TensorRT that built it, and nowhere else.
#
#   deploy/tensorrt/resnet18/plan/build.sh MODEL.onnx VERSION-FOLDER
#
# Then hold it to its tests: in half precision answers may differ by 0.05.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 MODEL.onnx VERSION-FOLDER" >&2; exit 2; }
mkdir -p "$2"
exec trtexec --onnx="$1" --saveEngine="$2/model.plan" --fp16 \
  --minShapes=image:1x3x224x224 \
  --optShapes=image:8x3x224x224 \
  --maxShapes=image:32x3x224x224 \
  --inputIOFormats=fp32:chw \
  --outputIOFormats=fp32:chw \
  --memPoolSize=workspace:1024M \
  --skipInference
