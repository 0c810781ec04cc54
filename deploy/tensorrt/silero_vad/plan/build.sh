#!/bin/sh
# Generated from models/silero_vad.py by `python -m models record silero_vad`.
#
# Builds the plan of `silero_vad` for the GPU of this host: a plan runs on the kind of GPU and the
# release of TensorRT that built it, and nowhere else.
#
#   deploy/tensorrt/silero_vad/plan/build.sh MODEL.onnx VERSION-FOLDER
#
# Then hold it to its tests: in half precision answers may differ by 0.05.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 MODEL.onnx VERSION-FOLDER" >&2; exit 2; }
mkdir -p "$2"
exec trtexec --onnx="$1" --saveEngine="$2/model.plan" --fp16 \
  --minShapes=audio:1x512,context:1x64,state:1x2x128 \
  --optShapes=audio:32x512,context:32x64,state:32x2x128 \
  --maxShapes=audio:64x512,context:64x64,state:64x2x128 \
  --inputIOFormats=fp32:chw,fp32:chw,fp32:chw \
  --outputIOFormats=fp32:chw,fp32:chw,fp32:chw \
  --memPoolSize=workspace:1024M \
  --skipInference
