#include "cli/cascade_subject.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node/observe/prediction_log.h"
#include "node/observe/tf_record.h"
#include "tests/testing/model_builder.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CascadeSubjectTest : public ::testing::Test {
 protected:
  CascadeSubjectTest() {
    for (const char* name : {"trigger", "full"}) {
      ModelBuilder model;
      model.Input("x", DType::kFloat, {"N"}).Output("score", DType::kFloat, {"N"});
      model.Node(name[0] == 't' ? "Identity" : "Neg", {"x"}, {"score"});
      model.WriteTo(folder_.File(absl::StrCat(name, "/3/model.onnx")));
    }
    flags_.trigger = folder_.path() + "/trigger";
    flags_.full = folder_.path() + "/full/3/model.onnx";
  }

  /// A record of a log; its answer is of no interest.
  static std::string Record(const std::string& model, const std::string& input, std::initializer_list<float> x,
                            absl::Status status = absl::OkStatus()) {
    PredictionRecord record{.model = model, .version = 1, .status = std::move(status)};
    record.inputs.push_back({input, Tensor::Of<float>({static_cast<int64_t>(x.size())}, x)});
    auto log = EncodePredictionLog(record);
    EXPECT_TRUE(log.ok()) << log.status();
    std::string framed;
    AppendTfRecord(log.value_or(""), &framed);
    return framed;
  }
  /// Format 1 of numpy.save().
  std::string WriteNpy(const std::string& name, const std::string& descr, size_t rows, absl::string_view data) {
    const std::string header =
        absl::StrCat("{'descr': '", descr, "', 'fortran_order': False, 'shape': (", rows, ",), }\n");
    std::string file("\x93NUMPY\x01\x00", 8);
    file.push_back(static_cast<char>(header.size()));
    file.push_back('\0');
    return folder_.Write(name, absl::StrCat(file, header, data));
  }
  std::string WriteFloats(const std::string& name, const std::vector<float>& values) {
    return WriteNpy(name, "<f4", values.size(),
                    {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  }

  absl::StatusOr<TrialColumns> Run(CascadeSubject& subject) const {
    const auto score = Expression::Parse("score"), decision = Expression::Parse("score >= 0.5");
    return subject.Run(flags_, {{&*score, 0}}, *decision);
  }
  static std::string Intro(const CascadeSubject& subject) {
    return subject.Intro(*Expression::Parse("score >= 0.5"), subject.data.rows(), false);
  }
  std::string ErrorOf() const {
    const auto subject = CascadeSubject::Open(flags_);
    EXPECT_FALSE(subject.ok());
    return std::string(subject.status().message());
  }

  TempFolder folder_;
  CascadeFlags flags_;
};

TEST_F(CascadeSubjectTest, RecordedRequestsAreRowsToTryModelsOn) {
  folder_.Write("log/1.tfrecord", absl::StrCat(Record("spam", "x", {1, 2}), Record("ham", "other", {3}),
                                               Record("spam", "x", {4}), Record("ham", "x", {5})));
  flags_.logs = {folder_.path() + "/log"};
  auto all = CascadeSubject::Open(flags_);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(Run(*all)->of_trigger[0], ElementsAre(1, 2, 4, 5));
  EXPECT_EQ(all->left_out, 1);
  EXPECT_THAT(all->why_left_out, HasSubstr("record 1: data: got no input 'x' among other"));
  EXPECT_THAT(Intro(*all), HasSubstr("among them rows of 1 requests to other models than 'spam'; --log-model takes"));
  flags_.log_model = "spam";
  auto some = CascadeSubject::Open(flags_);
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_THAT(Run(*some)->of_trigger[0], ElementsAre(1, 2, 4));
  EXPECT_EQ(some->left_out, 0);
  EXPECT_THAT(Intro(*some), HasSubstr("\n2 requests to other models than 'spam' left out\n"));
  flags_.limit = 2;
  EXPECT_EQ(CascadeSubject::Open(flags_)->data.rows(), 2);
}

TEST_F(CascadeSubjectTest, OfACascadeInAMeshItsOwnRequestsCount) {
  // What the full model was asked is recorded as well, with the same inputs.
  folder_.Write("log/1.tfrecord",
                absl::StrCat(Record("spam", "x", {1, 2}), Record("full", "x", {2}), Record("spam", "x", {4})));
  flags_.mesh_file = folder_.Write("mesh.yaml", absl::StrCat(R"(mesh: m
models:
  cheap: {path: )",
                                                             folder_.path(), R"(/trigger}
  full: {path: )",
                                                             folder_.path(), R"(/full}
  spam: {cascade: {stages: [cheap, {model: full, when: "score < 0.5"}]}}
nodes:
  front: {serve: [spam, full]}
)"));
  flags_.trigger.clear();
  flags_.full.clear();
  flags_.logs = {folder_.path() + "/log"};
  auto subject = CascadeSubject::Open(flags_);
  ASSERT_TRUE(subject.ok()) << subject.status();
  EXPECT_THAT(Run(*subject)->of_trigger[0], ElementsAre(1, 2, 4));
  EXPECT_THAT(Intro(*subject), HasSubstr("\n1 requests to other models than 'spam' left out\n"));
  flags_.log_model = "full";
  EXPECT_EQ(CascadeSubject::Open(flags_)->data.rows(), 1);
  flags_.log_model = "nobody";
  EXPECT_THAT(ErrorOf(), HasSubstr("logs: got no row for these models; 3 requests are to other models than 'nobody'"));
}

TEST_F(CascadeSubjectTest, RequestsThatFailedAreLeftOut) {
  folder_.Write("log/1.tfrecord", absl::StrCat(Record("spam", "x", {1}),
                                               Record("spam", "x", {2}, absl::InvalidArgumentError("no such row"))));
  flags_.logs = {folder_.path() + "/log"};
  auto subject = CascadeSubject::Open(flags_);
  ASSERT_TRUE(subject.ok()) << subject.status();
  EXPECT_EQ(subject->data.rows(), 1);
  EXPECT_THAT(subject->why_left_out, HasSubstr("no such row"));
}

TEST_F(CascadeSubjectTest, ALogWithoutAFittingRowIsSaid) {
  folder_.Write("log/1.tfrecord", Record("ham", "other", {3}));
  flags_.logs = {folder_.path() + "/log"};
  EXPECT_THAT(ErrorOf(), HasSubstr("logs: got no row for these models; record 0: data: got no input 'x'"));
}

TEST_F(CascadeSubjectTest, ArraysHaveLabels) {
  flags_.inputs = {"x=@" + WriteFloats("x.npy", {1, -2, 3})};
  flags_.labels = WriteNpy("labels.npy", "|u1", 3, absl::string_view("\1\1\0", 3));
  auto subject = CascadeSubject::Open(flags_);
  ASSERT_TRUE(subject.ok()) << subject.status();
  const auto columns = Run(*subject);
  ASSERT_TRUE(columns.ok()) << columns.status();
  EXPECT_THAT(columns->trigger_decision, ElementsAre(1, 0, 1));
  EXPECT_THAT(columns->full_decision, ElementsAre(0, 1, 0));
  EXPECT_THAT(*subject->Labels(*columns), ElementsAre(1, 1, 0));
  flags_.limit = 2;
  auto fewer = CascadeSubject::Open(flags_);
  ASSERT_TRUE(fewer.ok()) << fewer.status();
  EXPECT_EQ(fewer->data.rows(), 2);
  EXPECT_THAT(*fewer->Labels(*Run(*fewer)), ElementsAre(1, 1));
}

TEST_F(CascadeSubjectTest, LabelsOfAnotherKindOrNumberAreRefused) {
  flags_.inputs = {"x=@" + WriteFloats("x.npy", {1, -2, 3})};
  flags_.labels = WriteNpy("labels.npy", "|S1", 3, "abc");
  auto text = CascadeSubject::Open(flags_);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(std::string(text->Labels(*Run(*text)).status().message()),
              HasSubstr("--labels: got string[3], want a number for each of 3 rows"));
  flags_.labels = WriteNpy("labels.npy", "|u1", 2, "\1\1");
  auto few = CascadeSubject::Open(flags_);
  ASSERT_TRUE(few.ok()) << few.status();
  EXPECT_FALSE(few->Labels(*Run(*few)).ok());
}

TEST_F(CascadeSubjectTest, FlagsThatDoNotGoTogetherAreRefused) {
  EXPECT_THAT(ErrorOf(), HasSubstr("want --data or --input with arrays, or --log"));
  flags_.inputs = {"x"};
  EXPECT_THAT(ErrorOf(), HasSubstr("--input: got 'x', want NAME=@FILE.npy"));
  flags_.inputs = {"x=@" + WriteFloats("x.npy", {1})};
  flags_.labels = "nothing";
  EXPECT_THAT(ErrorOf(),
              HasSubstr("--labels: got 'nothing', want a file of numpy.save(), *.npy, or an array of --data"));
  flags_.labels.clear();
  flags_.full_cost_us = 3;
  EXPECT_THAT(ErrorOf(), HasSubstr("--trigger-cost, --full-cost: got one, want both or none"));
  flags_.full_cost_us = 0;
  flags_.mesh_file = "mesh.yaml";
  EXPECT_THAT(ErrorOf(), HasSubstr("want a mesh file, or --trigger and --full, one of both"));
  flags_.mesh_file.clear();
  flags_.full = folder_.path() + "/nobody.onnx";
  EXPECT_THAT(ErrorOf(), HasSubstr("nobody.onnx"));
}

}  // namespace
}  // namespace portico
