"""What grpcurl does, in Python: a call by reflection, knowing nothing but the address."""

from __future__ import annotations

import argparse

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToJson, Parse
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "inference.GRPCInferenceService"

# JSON has bytes in base64: SVM= is IS, Iceland. The answer's BYTES have their length in front.
REQUEST = """{
  "model_name": "parcel_router",
  "inputs": [
    {"name": "destination", "datatype": "BYTES", "shape": [1, 1],
     "contents": {"bytes_contents": ["SVM="]}},
    {"name": "weight_kg", "datatype": "FP32", "shape": [1, 1],
     "contents": {"fp32_contents": [2.5]}}
  ],
  "outputs": [{"name": "route"}]
}"""


def main() -> None:
    """Look, and call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grpc", default="127.0.0.1:3001")
    with grpc.insecure_channel(parser.parse_args().grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)

        # grpcurl -plaintext 127.0.0.1:3001 list
        for service in sorted(database.get_services()):
            print(service)

        # grpcurl -plaintext 127.0.0.1:3001 describe inference.GRPCInferenceService.ModelInfer
        service = DescriptorPool(database).FindServiceByName(SERVICE)
        method = service.methods_by_name["ModelInfer"]
        print(f"{method.name}({method.input_type.full_name}) → {method.output_type.full_name}")
        for field in method.input_type.fields:
            print(f"  {field.number}: {field.name}")

        # grpcurl -plaintext -d @ 127.0.0.1:3001 inference.GRPCInferenceService.ModelInfer <request
        request = Parse(REQUEST, GetMessageClass(method.input_type)())
        call = channel.unary_unary(
            f"/{SERVICE}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        print(MessageToJson(call(request, timeout=5), preserving_proto_field_name=True))


if __name__ == "__main__":
    main()
