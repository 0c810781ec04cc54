#!/bin/sh
# Generated from models/delivery_eta.py by `python -m models record delivery_eta`.
#
# Builds the plan of `delivery_eta` for the GPU of this host: a plan runs on the kind of GPU and the
# release of TensorRT that built it, and nowhere else.
#
#   deploy/tensorrt/delivery_eta/plan/build.sh MODEL.onnx VERSION-FOLDER
#
# Then hold it to its tests: in half precision answers may differ by 1.
set -eu
[ $# -eq 2 ] || { echo "usage: $0 MODEL.onnx VERSION-FOLDER" >&2; exit 2; }
mkdir -p "$2"
exec trtexec --onnx="$1" --saveEngine="$2/model.plan" --fp16 \
  --minShapes=distance_km:1x1,stops:1x1,hour:1x1,weekday:1x1,rain_mm:1x1,weight_kg:1x1 \
  --optShapes=distance_km:32x1,stops:32x1,hour:32x1,weekday:32x1,rain_mm:32x1,weight_kg:32x1 \
  --maxShapes=distance_km:256x1,stops:256x1,hour:256x1,weekday:256x1,rain_mm:256x1,weight_kg:256x1 \
  --inputIOFormats=fp32:chw,fp32:chw,fp32:chw,fp32:chw,fp32:chw,fp32:chw \
  --outputIOFormats=fp32:chw \
  --memPoolSize=workspace:1024M \
  --skipInference
