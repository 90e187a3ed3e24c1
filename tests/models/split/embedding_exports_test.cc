// Models as PyTorch (exports/export.py), in both of its ways, and TensorFlow export them.

#include <fstream>
#include <memory>
#include <ostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "onnx/onnx_pb.h"
#include "tests/models/split/embedding_fixture.h"

namespace portico {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

struct Export {
  const char* name;
  const char* poolings;
  const char* forms;
  /// Of the portal.
  std::vector<std::string> inputs;
  const char* paddings = "";
};
void PrintTo(const Export& one, std::ostream* out) { *out << one.name; }

std::string PathOf(const std::string& name) {
  return absl::StrCat(PORTICO_SOURCE_DIR, "/tests/models/split/exports/", name, ".onnx");
}

EmbeddingRewriting Rewrite(const std::string& name) {
  return EmbeddingRewriting(Model::Load(PathOf(name), EmbeddingRewriting::store()), 64);
}

class EmbeddingExportsTest : public ::testing::TestWithParam<Export> {};

TEST_P(EmbeddingExportsTest, AreLookupsOfAPortal) {
  const EmbeddingRewriting got = Rewrite(GetParam().name);
  ASSERT_TRUE(got.status.ok()) << got.status;
  EXPECT_EQ(got.Attribute("poolings"), GetParam().poolings);
  EXPECT_EQ(got.Attribute("forms"), GetParam().forms);
  EXPECT_EQ(got.Attribute("paddings"), GetParam().paddings);
  EXPECT_EQ(got.Inputs(), GetParam().inputs);
  EXPECT_THAT(OpTypes(*got.rewritten), Not(Contains("Loop")));
  EXPECT_THAT(got.lookups->notes, ::testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Traced, EmbeddingExportsTest,
                         ::testing::Values(Export{"traced_bag_rows", "sum", "padded", {"ids"}},
                                           Export{"traced_bag_rows_mean", "mean", "padded", {"ids"}},
                                           Export{"traced_bag_offsets", "sum", "csr", {"ids", "offsets"}},
                                           Export{"traced_bag_offsets_mean", "mean", "csr", {"ids", "offsets"}},
                                           Export{"traced_bag_offsets_end", "sum", "csr", {"ids", "offsets"}},
                                           Export{"traced_bag_weighted", "sum", "padded", {"ids", "weights"}},
                                           Export{"traced_sum", "sum", "padded", {"ids"}},
                                           Export{"traced_mean", "mean", "padded", {"ids"}},
                                           Export{"traced_sum_int32", "sum", "padded", {"ids"}},
                                           Export{"traced_masked", "sum", "padded", {"ids"}, "0"},
                                           Export{"traced_masked_mean", "sum", "padded", {"ids"}, "0"}));

INSTANTIATE_TEST_SUITE_P(Captured, EmbeddingExportsTest,
                         ::testing::Values(Export{"captured_bag_rows", "sum", "padded", {"ids"}},
                                           Export{"captured_bag_rows_mean", "mean", "padded", {"ids"}},
                                           Export{"captured_bag_offsets", "sum", "csr", {"ids", "offsets"}},
                                           Export{"captured_bag_offsets_mean", "mean", "csr", {"ids", "offsets"}},
                                           Export{"captured_bag_offsets_end", "sum", "csr", {"ids", "offsets"}},
                                           Export{"captured_bag_padding", "sum", "padded", {"ids"}, "0"},
                                           Export{"captured_bag_weighted", "sum", "padded", {"ids", "weights"}},
                                           Export{"captured_sum", "sum", "padded", {"ids"}},
                                           Export{"captured_mean", "mean", "padded", {"ids"}},
                                           Export{"captured_sum_int32", "sum", "padded", {"ids"}},
                                           Export{"captured_masked", "sum", "padded", {"ids"}, "0"},
                                           Export{"captured_masked_mean", "sum", "padded", {"ids"}, "0"}));

TEST(EmbeddingExportsTest, TablesOfColumnsAreOneCall) {
  for (const char* name : {"traced_columns", "captured_columns"}) {
    const EmbeddingRewriting got = Rewrite(name);
    ASSERT_TRUE(got.status.ok()) << got.status;
    EXPECT_EQ(got.lookups->tables.size(), 3u);
    EXPECT_EQ(got.Attribute("poolings"), "none,none,none");
    EXPECT_EQ(got.Attribute("tables", 1), "no such portal");
  }
}

/// Has loops hand their two values from turn to turn in the other order, as torch.export does at times.
int SwapLoopValues(onnx::GraphProto& graph) {
  int swapped = 0;
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (!attribute.has_g()) continue;
      onnx::GraphProto& body = *attribute.mutable_g();
      swapped += SwapLoopValues(body);
      if (node.op_type() != "Loop" || node.output_size() != 2 || node.input_size() != 4) continue;
      node.mutable_input()->SwapElements(2, 3);
      node.mutable_output()->SwapElements(0, 1);
      body.mutable_input()->SwapElements(2, 3);
      body.mutable_output()->SwapElements(1, 2);
      ++swapped;
    }
  }
  return swapped;
}

TEST(EmbeddingExportsTest, ValuesOfALoopAreInAnyOrder) {
  const std::pair<const char*, const char*> cases[] = {{"captured_bag_offsets", "csr"},
                                                       {"captured_bag_offsets_mean", "csr"},
                                                       {"captured_bag_offsets_end", "csr"},
                                                       {"captured_bag_rows", "padded"},
                                                       {"captured_bag_padding", "padded"}};
  for (const auto& [name, form] : cases) {
    auto proto = std::make_unique<onnx::ModelProto>();
    std::ifstream file(PathOf(name), std::ios::binary);
    ASSERT_TRUE(proto->ParseFromIstream(&file));
    ASSERT_GT(SwapLoopValues(*proto->mutable_graph()), 0) << name;
    const EmbeddingRewriting got(Model::FromProto(std::move(proto), "", EmbeddingRewriting::store()), 64);
    ASSERT_TRUE(got.status.ok()) << name << ": " << got.status;
    EXPECT_NE(got.Attribute("poolings"), "none") << name;
    EXPECT_EQ(got.Attribute("forms"), form) << name;
    EXPECT_THAT(OpTypes(*got.rewritten), Not(Contains("Loop"))) << name;
  }
}

TEST(EmbeddingExportsTest, OffsetsOfBothKindsGoWithTheirEnds) {
  for (const char* name : {"traced_bag_both", "captured_bag_both"}) {
    const EmbeddingRewriting got = Rewrite(name);
    ASSERT_TRUE(got.status.ok()) << got.status;
    EXPECT_EQ(got.Attribute("forms"), "csr,csr");
    EXPECT_EQ(got.Attribute("include_last_offset"), "1");
    EXPECT_THAT(OpTypes(*got.rewritten), Contains("Concat"));
  }
}

TEST(EmbeddingExportsTest, TensorFlowsAreLookupsOfOnePortal) {
  const std::pair<const char*, const char*> cases[] = {{"sum", "sum"},
                                                       {"masked", "sum"},
                                                       {"columns", "none,none"},
                                                       {"unstacked", "none,none,none,none,none"},
                                                       {"keras_mean", "mean"}};
  for (const auto& [name, poolings] : cases) {
    const EmbeddingRewriting got = Rewrite(absl::StrCat("tensorflow_", name));
    ASSERT_TRUE(got.status.ok()) << name << ": " << got.status;
    EXPECT_EQ(got.Attribute("poolings"), poolings) << name;
    EXPECT_EQ(got.Attribute("tables", 1), "no such portal") << name;
  }
}

TEST(EmbeddingExportsTest, LoopsOfOtherKindsStay) {
  // The largest of a bag's rows is nothing that tables give; a loop behind the lookup can still have its rows.
  const EmbeddingRewriting traced = Rewrite("traced_bag_max");
  EXPECT_THAT(std::string(traced.status.message()), HasSubstr("got no weight"));
  const EmbeddingRewriting captured = Rewrite("captured_bag_max");
  ASSERT_TRUE(captured.status.ok()) << captured.status;
  EXPECT_EQ(captured.Attribute("poolings"), "none");
  EXPECT_THAT(OpTypes(*captured.rewritten), Contains("Loop"));
}

}  // namespace
}  // namespace portico
