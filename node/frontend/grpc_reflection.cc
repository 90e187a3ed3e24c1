#include "node/frontend/grpc_reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <string>

#include "absl/container/flat_hash_set.h"
#include "grpc/reflection/v1.grpc.pb.h"
#include "grpc/reflection/v1alpha.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "node/frontend/grpc_message.h"

namespace portico {
namespace {

using ::google::protobuf::DescriptorPool;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::FileDescriptor;

/// What a node's gRPC listener serves.
constexpr const char* kServices[] = {
    "grpc.health.v1.Health",          "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService", "tensorflow.serving.ModelService",     "tensorflow.serving.PredictionService"};

const DescriptorPool& Pool() { return *DescriptorPool::generated_pool(); }

/// `file` and, once each, everything it needs.
template <typename Files>
void AddFiles(const FileDescriptor& file, absl::flat_hash_set<const FileDescriptor*>* seen, Files* files) {
  if (!seen->insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  files->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) AddFiles(*file.dependency(i), seen, files);
}

template <typename Response>
void AnswerFile(const FileDescriptor* file, Response* response) {
  if (file == nullptr) {
    response->mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
    response->mutable_error_response()->set_error_message("no such file, symbol or extension");
    return;
  }
  absl::flat_hash_set<const FileDescriptor*> seen;
  AddFiles(*file, &seen, response->mutable_file_descriptor_response());
}

template <typename Request, typename Response>
void AnswerRequest(const Request& request, Response* response) {
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kListServices:
      for (const char* name : kServices) response->mutable_list_services_response()->add_service()->set_name(name);
      return;
    case Request::kFileByFilename:
      return AnswerFile(Pool().FindFileByName(request.file_by_filename()), response);
    case Request::kFileContainingSymbol:
      return AnswerFile(Pool().FindFileContainingSymbol(request.file_containing_symbol()), response);
    case Request::kFileContainingExtension: {
      const auto& wanted = request.file_containing_extension();
      const auto* const type = Pool().FindMessageTypeByName(wanted.containing_type());
      const FieldDescriptor* const field =
          type == nullptr ? nullptr : Pool().FindExtensionByNumber(type, wanted.extension_number());
      return AnswerFile(field == nullptr ? nullptr : field->file(), response);
    }
    case Request::kAllExtensionNumbersOfType: {
      const auto* const type = Pool().FindMessageTypeByName(request.all_extension_numbers_of_type());
      if (type == nullptr) return AnswerFile(nullptr, response);
      auto& numbers = *response->mutable_all_extension_numbers_response();
      numbers.set_base_type_name(type->full_name());
      std::vector<const FieldDescriptor*> fields;
      Pool().FindAllExtensions(type, &fields);
      for (const FieldDescriptor* field : fields) numbers.add_extension_number(field->number());
      return;
    }
    case Request::MESSAGE_REQUEST_NOT_SET:
      break;
  }
  response->mutable_error_response()->set_error_code(grpc::StatusCode::INVALID_ARGUMENT);
  response->mutable_error_response()->set_error_message("request: got no question, want one of the protocol's five");
}

/// One stream: reads a question, answers it, reads the next. gRPC calls its reactions one at a time, and frees it by
/// OnDone, last.
template <typename Request, typename Response>
class Stream final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit Stream(const absl::Status& access) {
    if (access.ok()) {
      this->StartRead(&request_);
    } else {
      this->Finish(ToGrpc(access));
    }
  }
  void OnReadDone(bool ok) override {
    if (!ok) return this->Finish(grpc::Status::OK);
    response_.Clear();
    AnswerRequest(request_, &response_);
    this->StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return this->Finish(grpc::Status::OK);
    this->StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  Request request_;
  Response response_;
};

template <typename Base, typename Request, typename Response>
class Service final : public Base {
 public:
  explicit Service(const Access& access) : access_(access) {}

  grpc::ServerBidiReactor<Request, Response>* ServerReflectionInfo(grpc::CallbackServerContext* call) override {
    return new Stream<Request, Response>(access_.Check(MetadataOf(*call, "authorization")).status());
  }

 private:
  const Access& access_;
};

namespace v1 = ::grpc::reflection::v1;
namespace v1alpha = ::grpc::reflection::v1alpha;

class Reflection final : public GrpcReflection {
 public:
  explicit Reflection(const Access& access) : old_(access), new_(access) {}

  std::vector<grpc::Service*> services() override { return {&old_, &new_}; }

 private:
  Service<v1alpha::ServerReflection::CallbackService, v1alpha::ServerReflectionRequest,
          v1alpha::ServerReflectionResponse>
      old_;
  Service<v1::ServerReflection::CallbackService, v1::ServerReflectionRequest, v1::ServerReflectionResponse> new_;
};

}  // namespace

std::unique_ptr<GrpcReflection> GrpcReflection::Create(const Access& access) {
  return std::make_unique<Reflection>(access);
}

}  // namespace portico
