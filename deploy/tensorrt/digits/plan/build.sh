#!/bin/sh
# Generated from models/digits.py by `python -m models record digits`.
#
# Builds the plan of `digits` for the GPU of this host: a plan runs on the kind of GPU and the
# release of TensorRT that built it, and nowhere else.
#
#   deploy/tensorrt/digits/plan/build.sh MODEL.onnx VERSION-FOLDER
#
# Then hold it to its tests: in half precision answers may differ by 0.1.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 MODEL.onnx VERSION-FOLDER" >&2; exit 2; }
mkdir -p "$2"
exec trtexec --onnx="$1" --saveEngine="$2/model.plan" --fp16 \
  --minShapes=image:1x1x8x8 \
  --optShapes=image:32x1x8x8 \
  --maxShapes=image:256x1x8x8 \
  --inputIOFormats=fp32:chw \
  --outputIOFormats=fp32:chw \
  --memPoolSize=workspace:1024M \
  --skipInference
