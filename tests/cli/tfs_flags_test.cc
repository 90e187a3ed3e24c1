#include "cli/tfs_flags.h"

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/parse_serve_flags.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class TfsFlagsTest : public ::testing::Test {
 protected:
  /// What a command line makes of the options of a node.
  absl::Status Parse(std::vector<std::string> arguments) {
    options_.emplace();
    model_ = NewTfsModelFlags();
    server_ = NewTfsServerFlags();
    return ParseServeFlags({model_.get(), server_.get(), NewTfsForeignFlags().get()}, std::move(arguments), &*options_);
  }
  void ExpectError(std::vector<std::string> arguments, const std::string& message) {
    const absl::Status status = Parse(std::move(arguments));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }

  const TempFolder folder_;
  std::unique_ptr<ServeFlags> model_;
  std::unique_ptr<ServeFlags> server_;
  std::optional<Node::Options> options_;
};

TEST_F(TfsFlagsTest, StartScriptOfOneModel) {
  ASSERT_TRUE(Parse({"--port=8500", "--rest_api_port=8501", "--model_name=m", "--model_base_path=/models/m",
                     "--rest_api_timeout_in_ms=1500", "--file_system_poll_wait_seconds=5", "--max_num_load_retries=2",
                     "--load_retry_interval_micros=1000", "--num_load_threads=3",
                     "--allow_version_labels_for_unavailable_models=false"})
                  .ok());
  EXPECT_EQ(options_->grpc.address, "127.0.0.1:8500");
  EXPECT_EQ(options_->http.address, "127.0.0.1:8501");
  ASSERT_EQ(options_->models.size(), 1u);
  EXPECT_EQ(options_->models[0].name, "m");
  EXPECT_EQ(options_->models[0].base_path, "/models/m");
  EXPECT_EQ(options_->rest_timeout, absl::Milliseconds(1500));
  EXPECT_EQ(options_->servables.poll_period, absl::Seconds(5));
  EXPECT_EQ(options_->servables.load_retries, 2);
  EXPECT_EQ(options_->servables.load_retry_delay, absl::Milliseconds(1));
  EXPECT_EQ(options_->servables.load_threads, 3);
  EXPECT_FALSE(options_->servables.labels_may_wait);
}

TEST_F(TfsFlagsTest, DefaultsAreThoseOfTheServerThere) {
  ASSERT_TRUE(Parse({"--model_base_path=/models/m"}).ok());
  EXPECT_EQ(options_->models[0].name, "default");
  EXPECT_EQ(options_->rest_timeout, absl::Seconds(30));
  EXPECT_EQ(options_->servables.load_retries, 5);
  EXPECT_EQ(options_->servables.load_retry_delay, absl::Minutes(1));
  EXPECT_EQ(options_->servables.poll_period, absl::Seconds(1));
  EXPECT_FALSE(options_->servables.batching.has_value());
  ExpectError({"--model_name=m"}, "--model_base_path");
}

TEST_F(TfsFlagsTest, PortsAndHost) {
  ASSERT_TRUE(Parse({"--port=1"}).ok());
  EXPECT_EQ(options_->grpc.address, "127.0.0.1:1");
  EXPECT_EQ(options_->http.address, "");
  ASSERT_TRUE(Parse({"--rest_api_port=2", "--host=0.0.0.0"}).ok());
  EXPECT_EQ(options_->grpc.address, "0.0.0.0:8500");
  EXPECT_EQ(options_->http.address, "0.0.0.0:2");
  ASSERT_TRUE(Parse({"--rest_api_port=2", "--port=0"}).ok());
  EXPECT_EQ(options_->grpc.address, "");
  ASSERT_TRUE(Parse({"--host=::1"}).ok());
  EXPECT_EQ(options_->grpc.address, "[::1]:8500");
  EXPECT_EQ(options_->http.address, "[::1]:8501");
  ASSERT_TRUE(Parse({"--port=0", "--grpc_socket_path=/run/s"}).ok());
  EXPECT_EQ(options_->grpc.address, "");
  EXPECT_EQ(options_->grpc.socket_path, "/run/s");
  ASSERT_TRUE(Parse({"--grpc_socket_path=/run/s"}).ok());
  EXPECT_EQ(options_->grpc.address, "127.0.0.1:8500");
  ExpectError({"--port=0"}, "nothing would listen");
  ExpectError({"--port=7", "--rest_api_port=7"}, "want two ports");
  EXPECT_FALSE(Parse({"--port=65536"}).ok());
  ASSERT_TRUE(Parse({"--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.so_reuseport=0"}).ok());
  EXPECT_THAT(options_->grpc.channel_arguments,
              ElementsAre(Pair("grpc.max_connection_age_ms", "2000"), Pair("grpc.so_reuseport", "0")));
  ExpectError({"--grpc_channel_arguments=x"}, "want KEY=VALUE");
}

TEST_F(TfsFlagsTest, CorsIsOffUnlessAskedFor) {
  ASSERT_TRUE(Parse({"--port=1"}).ok());
  EXPECT_FALSE(options_->http.cors);
  ASSERT_TRUE(Parse({"--rest_api_enable_cors_support"}).ok());
  EXPECT_TRUE(options_->http.cors);
  ASSERT_TRUE(Parse({"--rest_api_enable_cors_support=false"}).ok());
  EXPECT_FALSE(options_->http.cors);
}

TEST_F(TfsFlagsTest, ModelConfigFileGoesBeforeModelName) {
  ASSERT_TRUE(Parse({"--model_config_file=/c", "--model_name=m", "--model_base_path=/m",
                     "--model_config_file_poll_wait_seconds=2"})
                  .ok());
  EXPECT_TRUE(options_->models.empty());
  EXPECT_EQ(options_->model_config_file.path, "/c");
  EXPECT_EQ(options_->model_config_file.period, absl::Seconds(2));
}

TEST_F(TfsFlagsTest, BatchingParameters) {
  const std::string file = folder_.Write("batching.config",
                                         "max_batch_size { value: 32 }\nbatch_timeout_micros { value: 500 }\n"
                                         "max_enqueued_batches { value: 10 }\nnum_batch_threads { value: 2 }\n"
                                         "allowed_batch_sizes: 8 allowed_batch_sizes: 32\n"
                                         "pad_variable_length_inputs: true\n"
                                         "enable_large_batch_splitting { value: true }\n");
  ASSERT_TRUE(Parse({"--enable_batching", "--batching_parameters_file=" + file}).ok());
  ASSERT_TRUE(options_->servables.batching.has_value());
  EXPECT_EQ(options_->servables.batching->max_batch_size, 32);
  EXPECT_EQ(options_->servables.batching->max_delay_us, 500);
  EXPECT_EQ(options_->servables.batching->max_queue_rows, 320);
  EXPECT_EQ(options_->servables.batching->max_running, 2);
  EXPECT_THAT(options_->servables.batching->allowed_batch_sizes, ElementsAre(8, 32));
  EXPECT_TRUE(options_->servables.batching->pad_variable_length_inputs);
  EXPECT_TRUE(options_->servables.batching->enable_large_batch_splitting);
  ASSERT_TRUE(Parse({"--enable_batching=false"}).ok());
  EXPECT_EQ(options_->servables.batching->max_batch_size, 1);
  ASSERT_TRUE(Parse({"--enable_batching=true"}).ok());
  EXPECT_FALSE(options_->servables.batching.has_value());
  ExpectError({"--batching_parameters_file=" + file}, "without --enable_batching");
  EXPECT_EQ(Parse({"--enable_batching", "--batching_parameters_file=/nowhere"}).code(), absl::StatusCode::kNotFound);
  folder_.Write("batching.config", "max_batch_size { value: 16 } allowed_batch_sizes: 8");
  ExpectError({"--enable_batching", "--batching_parameters_file=" + file}, "got 8 as the last one, want 16");
  folder_.Write("batching.config", "allowed_batch_sizes: 8 allowed_batch_sizes: 8");
  ExpectError({"--enable_batching", "--batching_parameters_file=" + file}, "want sizes that rise");
  folder_.Write("batching.config", "max_batch_size { value: 0 }");
  ExpectError({"--enable_batching", "--batching_parameters_file=" + file}, "batching.config': max_batch_size: got 0");
  folder_.Write("batching.config", "max_batch_size { value: 16 } allowed_batch_sizes: 8");
  ExpectError({"--enable_batching", "--batching_parameters_file=" + file}, "got 8 as the last one, want 16");
  folder_.Write("batching.config", "allowed_batch_sizes: 8 allowed_batch_sizes: 8");
  ExpectError({"--enable_batching", "--batching_parameters_file=" + file}, "want sizes that rise");
  folder_.Write("batching.config", "max_batch_siz { value: 0 }");
  ExpectError({"--enable_batching", "--batching_parameters_file=" + file}, "line 1");
}

TEST_F(TfsFlagsTest, SslAndMonitoringFiles) {
  const std::string ssl =
      folder_.Write("ssl.config", "server_key: 'KEY'\nserver_cert: 'CERT'\ncustom_ca: 'CA'\nclient_verify: false\n");
  ASSERT_TRUE(Parse({"--ssl_config_file=" + ssl}).ok());
  EXPECT_EQ(options_->grpc.tls.private_key, "KEY");
  EXPECT_EQ(options_->grpc.tls.certificates, "CERT");
  EXPECT_EQ(options_->grpc.tls.client_roots, "");
  folder_.Write("ssl.config", "server_key: 'KEY' server_cert: 'CERT' custom_ca: 'CA' client_verify: true");
  ASSERT_TRUE(Parse({"--ssl_config_file=" + ssl}).ok());
  EXPECT_EQ(options_->grpc.tls.client_roots, "CA");
  EXPECT_FALSE(options_->http.tls.enabled());
  ASSERT_TRUE(Parse({"--ssl_config_file=" + ssl, "--ssl-config-for-rest"}).ok());
  EXPECT_EQ(options_->http.tls.client_roots, "CA");
  ASSERT_EQ(options_->tls_files.files.paths, std::vector<std::string>{ssl});
  EXPECT_EQ(options_->tls_files.read({"server_key: 'NEW' server_cert: 'CERT'"})->private_key, "NEW");
  EXPECT_FALSE(options_->tls_files.read({"server_key: 'NEW'"}).ok());
  ExpectError({"--ssl-config-for-rest"}, "without --ssl_config_file");
  folder_.Write("ssl.config", "server_key: 'KEY' server_cert: 'CERT' client_verify: true");
  ExpectError({"--ssl_config_file=" + ssl}, "custom_ca: got none");
  folder_.Write("ssl.config", "server_key: 'KEY'");
  ExpectError({"--ssl_config_file=" + ssl}, "server_cert: got none");

  const std::string monitoring =
      folder_.Write("monitoring.config", "prometheus_config { enable: true, path: '/my/metrics' }");
  ASSERT_TRUE(Parse({"--monitoring_config_file=" + monitoring}).ok());
  EXPECT_EQ(options_->metrics_path, "/my/metrics");
  folder_.Write("monitoring.config", "prometheus_config { enable: true, path: 'metrics' }");
  ExpectError({"--monitoring_config_file=" + monitoring}, "begins with a slash");
}

TEST_F(TfsFlagsTest, ForeignFlagsAreAcceptedOrRefused) {
  EXPECT_TRUE(Parse({"--rest_api_num_threads=16", "--tensorflow_intra_op_parallelism=4", "--flush_filesystem_caches",
                     "--enable_model_warmup=true", "--per_process_gpu_memory_fraction=0.5"})
                  .ok());
  ExpectError({"--use_alts_credentials"}, "--use_alts_credentials: got 'true', want none");
  EXPECT_TRUE(Parse({"--use_alts_credentials=false"}).ok());
  ExpectError({"--platform_config_file=/p"}, "--platform_config_file");
  EXPECT_FALSE(Parse({"--no_such_flag"}).ok());
}

TEST_F(TfsFlagsTest, WhatAMeshDecidesIsTold) {
  ASSERT_TRUE(Parse({"--model_base_path=/m", "--port=1", "--host=h"}).ok());
  EXPECT_THAT(model_->GivenMeshFlags(), ElementsAre("--model_base_path"));
  EXPECT_THAT(server_->GivenMeshFlags(), ElementsAre("--host", "--port"));
}

}  // namespace
}  // namespace portico
