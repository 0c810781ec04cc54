#!/bin/sh
# Generated from models/magika.py by `python -m models record magika`.
#
# Builds the plan of `magika` for the GPU of this host: a plan runs on the kind of GPU and the
# release of TensorRT that built it, and nowhere else.
#
#   deploy/tensorrt/magika/plan/build.sh MODEL.onnx VERSION-FOLDER
#
# Then hold it to its tests: in half precision answers may differ by 0.02.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 MODEL.onnx VERSION-FOLDER" >&2; exit 2; }
mkdir -p "$2"
exec trtexec --onnx="$1" --saveEngine="$2/model.plan" --fp16 \
  --minShapes=bytes:1x2048 \
  --optShapes=bytes:16x2048 \
  --maxShapes=bytes:64x2048 \
  --inputIOFormats=int32:chw \
  --outputIOFormats=fp32:chw \
  --memPoolSize=workspace:1024M \
  --skipInference
