// Random masks, batches, dtypes, ranks, shared inputs and failures: what a cascade answers is what a plain loop over
// rows answers, in order; with two stages too.

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rows.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "remote_op/portal.h"
#include "router/static_resolver.h"
#include "tests/remote_op/cascade_spec_of.h"
#include "tests/router/fake_transport.h"
#include "tests/testing/random_rows.h"
#include "transport/wire_row_notes.h"

namespace portico {
namespace {

using Row = std::vector<std::string>;
using Table = std::vector<Row>;
using Outputs = absl::StatusOr<std::vector<Tensor>>;

/// What one call of the full model will do.
struct Fate {
  bool fails = false;
  /// Of the rows as they are sent: no answer further down; an answer that stood in further down.
  std::set<int64_t> marked, stood_in;
};

/// One request as it is given to the mesh and to the loop.
struct Case {
  std::string on_row_error;
  bool with_digest = false;
  int64_t rows = 0;
  std::vector<bool> escalate;
  std::vector<DType> dtypes;
  std::vector<Tensor> cheap;
  /// What the full model would answer to each of the request's rows.
  std::vector<Tensor> full;
  /// The first is shared, the second the number of the row, which is how the test knows it.
  std::vector<Tensor> inputs;
  Fate fate;
};

/// What the loop answers.
struct Answer {
  bool ok = true;
  std::vector<Table> outputs;
  std::vector<int8_t> status;
  /// Rows that a note names.
  std::set<int64_t> noted;
};

/// The reference: a row after the other.
Answer PlainLoop(const Case& c) {
  Answer answer;
  answer.status.assign(static_cast<size_t>(c.rows), 0);
  for (const Tensor& cheap : c.cheap) answer.outputs.push_back(RowsOf(cheap));
  int64_t sent = 0;
  for (int64_t row = 0; row < c.rows; ++row) {
    if (!c.escalate[static_cast<size_t>(row)]) continue;
    const int64_t at = sent++;
    const bool failed = c.fate.fails || c.fate.marked.contains(at);
    if (failed || c.fate.stood_in.contains(at)) answer.noted.insert(row);
    answer.status[static_cast<size_t>(row)] = failed ? 2 : 1;
    if (failed && c.on_row_error == "fail") answer.ok = false;
    for (size_t i = 0; i < c.cheap.size(); ++i) {
      Row& to = answer.outputs[i][static_cast<size_t>(row)];
      if (!failed) {
        to = RowsOf(c.full[i])[static_cast<size_t>(row)];
      } else if (c.on_row_error == "mark") {
        Shape one = c.cheap[i].shape();
        one[0] = 1;
        to = RowsOf(Marks(c.dtypes[i], one))[0];
      }
    }
  }
  return answer;
}

class CascadePropertyTest : public ::testing::Test {
 protected:
  CascadePropertyTest()
      : resolver_(std::map<std::string, std::vector<std::string>>{{"full", {"x://a"}}, {"second", {"x://b"}}}) {
    Router::Options options;
    options.default_policy.retries = 0;
    router_ = *Router::Create(std::move(options), transport_, resolver_, clock_, metrics_);
  }

  Case RandomCase() {
    Case c;
    const char* const actions[] = {"cheap", "mark", "fail"};
    c.on_row_error = actions[random_() % 3];
    c.with_digest = random_() % 2 == 0;
    c.rows = static_cast<int64_t>(random_() % 65);
    const uint32_t density = random_() % 5;
    int64_t sent = 0;
    for (int64_t row = 0; row < c.rows; ++row) {
      c.escalate.push_back(random_() % 4 < density);
      sent += c.escalate.back() ? 1 : 0;
    }
    const std::vector<DType> all = AllDTypes();
    for (size_t answers = 1 + random_() % 3; answers > 0; --answers) {
      c.dtypes.push_back(all[random_() % all.size()]);
      const Shape shape = RandomShape(c.rows, random_);
      c.cheap.push_back(RandomTensor(c.dtypes.back(), shape, random_));
      c.full.push_back(RandomTensor(c.dtypes.back(), shape, random_));
    }
    std::vector<int64_t> numbers;
    for (int64_t row = 0; row < c.rows; ++row) numbers.push_back(row);
    c.inputs = {
        RandomTensor(all[random_() % all.size()], RandomShape(static_cast<int64_t>(random_() % 5), random_), random_),
        Tensor::Of<int64_t>({c.rows}, absl::MakeConstSpan(numbers)),
        RandomTensor(all[random_() % all.size()], RandomShape(c.rows, random_), random_)};
    const uint32_t fate = random_() % 4;
    c.fate.fails = fate == 0;
    for (int64_t at = 0; fate == 1 && at < sent; ++at) {
      if (random_() % 3 == 0) c.fate.marked.insert(at);
      if (random_() % 3 == 0) c.fate.stood_in.insert(at);
    }
    return c;
  }

  std::unique_ptr<Portal> MakePortal(const Case& c, const std::string& target = "full") {
    std::vector<CascadeAnswer> answers;
    for (size_t i = 0; i < c.cheap.size(); ++i) {
      // The rank is known, or not.
      std::string shape = "...";
      if (random_() % 2 == 0) {
        shape = "N";
        for (size_t d = 1; d < c.cheap[i].shape().size(); ++d) absl::StrAppend(&shape, ",", c.cheap[i].shape()[d]);
      }
      answers.push_back({absl::StrCat("y", i), c.dtypes[i], shape});
    }
    PortalSpec spec = CascadeSpecOf(
        answers, {"shared", "number", "more"},
        {Strings("shared_inputs", {"shared"}), String("on_row_error", c.on_row_error), Int("row_status", 1)},
        c.with_digest);
    spec.target = target;
    auto portal = NewPortal(spec, *router_);
    EXPECT_TRUE(portal.ok()) << portal.status();
    return *std::move(portal);
  }

  /// Checks what was sent, and answers as the case's fate has it.
  void Reply(const Case& c, FakeTransport::Call& call) {
    ASSERT_EQ(call.tensors.size(), 3u);
    EXPECT_EQ(RowsOf(call.tensors[0]), RowsOf(c.inputs[0])) << "shared";
    const absl::Span<const int64_t> numbers = call.tensors[1].data<int64_t>();
    const std::vector<int64_t> rows(numbers.begin(), numbers.end());
    std::vector<int64_t> want;
    Table more;
    const Table all_more = RowsOf(c.inputs[2]);
    for (int64_t row = 0; row < c.rows; ++row) {
      if (!c.escalate[static_cast<size_t>(row)]) continue;
      want.push_back(row);
      more.push_back(all_more[static_cast<size_t>(row)]);
    }
    EXPECT_EQ(rows, want);
    EXPECT_EQ(RowsOf(call.tensors[2]), more);
    if (c.fate.fails) return call.Fail(absl::UnavailableError("lost"));
    PeerHeader header;
    std::vector<Tensor> answer;
    std::vector<std::string> names;
    for (size_t i = 0; i < c.full.size(); ++i) names.push_back(absl::StrCat("y", i));
    for (size_t i = 0; i < c.full.size(); ++i) {
      // Row by row, not with the code under test.
      std::vector<Tensor> single;
      for (const int64_t row : rows) single.push_back(OneRow(c.full[i], row));
      answer.push_back(ConcatOrEmpty(c.full[i], single));
      TensorMeta meta;
      if (!c.with_digest) meta.name = names[i];
      header.tensors.push_back(meta);
    }
    RowNotes notes;
    const auto add = [&](const std::set<int64_t>& set, absl::string_view kind) {
      notes.Add("deep", kind, absl::UnavailableError("deep"), std::vector<int64_t>(set.begin(), set.end()));
    };
    add(c.fate.marked, "mark");
    add(c.fate.stood_in, "cheap");
    const std::vector<RowNote> said = notes.Notes();
    WireRowNotes wire;
    wire.Put(said, &header);
    call.Reply(header, std::move(answer));
  }

  /// Rows whose elements do not fill bytes can't be cut out by others: those are taken with TakeRows(), which has tests
  /// of its own.
  static Tensor OneRow(const Tensor& tensor, int64_t row) { return TakeRows(tensor, {row}); }
  static Tensor ConcatOrEmpty(const Tensor& like, const std::vector<Tensor>& rows) {
    if (BitsPerElement(like.dtype()) == 4) {
      std::vector<int64_t> numbers;
      Shape shape = like.shape();
      shape[0] = static_cast<int64_t>(rows.size());
      Tensor joined = Marks(like.dtype(), shape);
      for (size_t i = 0; i < rows.size(); ++i) joined = PutRows(joined, {static_cast<int64_t>(i)}, rows[i]);
      return joined;
    }
    return ConcatRows(rows);
  }

  static std::set<int64_t> RowsNoted(const RequestContext& context) {
    std::set<int64_t> rows;
    for (const RowNote& note : context.row_notes.Notes()) {
      for (const RowRange& range : note.rows) {
        for (int64_t i = 0; i < range.count; ++i) rows.insert(range.first + i);
      }
    }
    return rows;
  }

  /// Runs `portal`, answering its call, where there is one, as `c` says.
  Outputs Run(Portal& portal, const Case& c, const Ref<RequestContext>& context, std::vector<Tensor> cheap) {
    Tensor mask = Tensor::Allocate(DType::kBool, {c.rows});
    for (int64_t row = 0; row < c.rows; ++row) mask.mutable_bytes()[row] = c.escalate[static_cast<size_t>(row)] ? 1 : 0;
    std::vector<Tensor> inputs = {mask};
    inputs.insert(inputs.end(), cheap.begin(), cheap.end());
    inputs.insert(inputs.end(), c.inputs.begin(), c.inputs.end());
    std::optional<Outputs> outputs;
    const size_t before = transport_.calls.size();
    portal.Run(Ref<const RequestContext>(context.get()), std::move(inputs),
               [&](Outputs result) { outputs = std::move(result); });
    const bool escalates = std::find(c.escalate.begin(), c.escalate.end(), true) != c.escalate.end();
    EXPECT_EQ(transport_.calls.size() - before, escalates ? 1u : 0u);
    if (transport_.calls.size() > before) Reply(c, transport_.calls.back());
    EXPECT_TRUE(outputs.has_value());
    return outputs.has_value() ? *std::move(outputs) : absl::InternalError("no answer");
  }

  static void ExpectAnswer(const Answer& want, const Outputs& got, const RequestContext& context) {
    ASSERT_EQ(got.ok(), want.ok) << got.status();
    if (!want.ok) return;
    ASSERT_EQ(got->size(), want.outputs.size() + 1);
    for (size_t i = 0; i < want.outputs.size(); ++i) EXPECT_EQ(RowsOf((*got)[i]), want.outputs[i]) << "output " << i;
    const absl::Span<const int8_t> status = got->back().data<int8_t>();
    EXPECT_EQ(std::vector<int8_t>(status.begin(), status.end()), want.status);
    EXPECT_EQ(RowsNoted(context), want.noted);
  }

  std::mt19937 random_{20221117};
  FakeClock clock_;
  FakeTransport transport_;
  CountedMetrics metrics_;
  const StaticResolver resolver_;
  std::unique_ptr<Router> router_;
};

TEST_F(CascadePropertyTest, AnswersWhatAPlainLoopOverRowsAnswers) {
  for (int round = 0; round < 1500; ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    const Case c = RandomCase();
    const auto portal = MakePortal(c);
    const auto context = MakeRef<RequestContext>();
    const Outputs got = Run(*portal, c, context, c.cheap);
    ExpectAnswer(PlainLoop(c), got, *context);
    if (HasFailure()) break;
  }
  EXPECT_GT(metrics_.Value("portico_cascade_rows_escalated_total"), 10'000) << "the cases say something";
}

TEST_F(CascadePropertyTest, TwoStagesAnswerWhatTwoLoopsAnswer) {
  for (int round = 0; round < 700; ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    Case first = RandomCase();
    // The second stage has the first one's answers for cheap ones.
    Case second = RandomCase();
    second.rows = first.rows;
    second.escalate.resize(static_cast<size_t>(first.rows));
    for (size_t row = 0; row < second.escalate.size(); ++row) second.escalate[row] = random_() % 3 == 0;
    second.dtypes = first.dtypes;
    second.inputs = first.inputs;
    second.full.clear();
    for (const Tensor& cheap : first.cheap) {
      second.full.push_back(RandomTensor(cheap.dtype(), cheap.shape(), random_));
    }
    second.cheap = first.cheap;  // For its shapes; its values are what the first stage answers.
    const auto portal = MakePortal(first), next = MakePortal(second, "second");
    const auto context = MakeRef<RequestContext>();
    Outputs got = Run(*portal, first, context, first.cheap);
    const Answer want = PlainLoop(first);
    ExpectAnswer(want, got, *context);
    if (!want.ok) continue;
    got->pop_back();
    second.cheap = *got;
    Answer both = PlainLoop(second);
    both.noted.insert(want.noted.begin(), want.noted.end());
    ExpectAnswer(both, Run(*next, second, context, *got), *context);
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace portico
