// JSON of a million floats: what the REST frontend makes of a body, beside simdjson that pushes the same numbers into a
// vector, once over the document, with a parser that it keeps; and an answer written, beside to_chars of the same
// numbers into one buffer of the right size.

#include <charconv>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/scenarios.h"
#include "node/frontend/http_server.h"
#include "node/frontend/tfs_json.h"
#include "simdjson.h"

namespace portico::bench {
namespace {

constexpr int kRounds = 11;
constexpr size_t kNumbers = 1'000'000;

Signature OneFloat() {
  Signature signature;
  signature.name = "serving_default";
  TensorSpec spec;
  spec.dtype = DType::kFloat;
  spec.name = "x";
  signature.inputs = {spec};
  spec.name = "y";
  signature.outputs = {spec};
  return signature;
}

template <typename Work>
double MegabytesPerSecond(size_t bytes, Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return static_cast<double>(bytes) * 1e-6 / took.count();
}

Figure Compare(const char* name, std::vector<double> ours, std::vector<double> plain) {
  Figure figure;
  figure.name = name;
  figure.value = Median(std::move(ours));
  figure.unit = "MB/s";
  figure.baseline = Median(std::move(plain));
  return figure;
}

void Parse(Report& report, const Signature& signature, const std::string& body) {
  std::string padded = body;
  padded.append(HttpRequest::kBodyPadding, '\0');
  simdjson::ondemand::parser parser;
  std::vector<double> ours, plain;
  for (int round = 0; round < kRounds; ++round) {
    plain.push_back(MegabytesPerSecond(body.size(), [&] {
      simdjson::ondemand::document document;
      PORTICO_CHECK(parser.iterate(padded.data(), body.size(), padded.size()).get(document) == simdjson::SUCCESS);
      std::vector<float> numbers;
      simdjson::ondemand::array list;
      PORTICO_CHECK(document["inputs"].get_array().get(list) == simdjson::SUCCESS);
      for (auto element : list) {
        double number = 0;
        PORTICO_CHECK(element.get_double().get(number) == simdjson::SUCCESS);
        numbers.push_back(static_cast<float>(number));
      }
      PORTICO_CHECK(numbers.size() == kNumbers);
    }));
    ours.push_back(MegabytesPerSecond(body.size(), [&] {
      const auto request = ReadPredictJson({padded.data(), body.size()}, [&](absl::string_view) { return &signature; });
      PORTICO_CHECK(request.ok() && request->inputs[0].num_elements() == kNumbers);
    }));
  }
  Figure figure = Compare("json.parse", std::move(ours), std::move(plain));
  figure.at_least = 0.7;
  report.Add(figure);
}

void Write(Report& report, const Signature& signature, const std::vector<float>& numbers) {
  const Tensor tensor = Tensor::Of<float>({static_cast<int64_t>(kNumbers)}, absl::MakeConstSpan(numbers));
  std::vector<double> ours, plain;
  for (int round = 0; round < kRounds; ++round) {
    size_t bytes = 0;
    plain.push_back(MegabytesPerSecond(1'000'000, [&] {
      std::string out(kNumbers * 16, '\0');
      char* end = out.data();
      for (const float number : numbers) {
        end = std::to_chars(end, end + 16, number).ptr;
        *end++ = ',';
      }
      bytes = static_cast<size_t>(end - out.data());
    }));
    plain.back() *= static_cast<double>(bytes) * 1e-6;
    ours.push_back(MegabytesPerSecond(1'000'000, [&] {
      const auto body = WritePredictJson(signature, {&tensor, 1}, false);
      PORTICO_CHECK(body.ok());
      bytes = body->size();
    }));
    ours.back() *= static_cast<double>(bytes) * 1e-6;
  }
  report.Add(Compare("json.write", std::move(ours), std::move(plain)));
}

void Run(Report& report) {
  const Signature signature = OneFloat();
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(kNumbers);
  for (float& number : numbers) number = normal(random);
  std::string body = "{\"inputs\": [";
  for (size_t i = 0; i < numbers.size(); ++i) {
    char text[32];
    if (i != 0) body += ", ";
    body.append(text, std::to_chars(text, text + sizeof(text), numbers[i]).ptr);
  }
  body += "]}";
  Parse(report, signature, body);
  Write(report, signature, numbers);
}

}  // namespace

std::vector<Scenario> JsonScenarios() {
  return {{"json", "A REST body of a million floats read and written, against plain simdjson and to_chars", Run}};
}

}  // namespace portico::bench
