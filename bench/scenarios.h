#pragma once

#include <vector>

#include "bench/report.h"

namespace portico::bench {

/// One function per file of this folder; main.cc runs those whose name begins with NAME.
std::vector<Scenario> PortalScenarios();
std::vector<Scenario> HedgeScenarios();
std::vector<Scenario> ExpertsScenarios();
std::vector<Scenario> PredictGrpcScenarios();
std::vector<Scenario> InferGrpcScenarios();
std::vector<Scenario> ExecutorScenarios();
std::vector<Scenario> IsolationScenarios();
std::vector<Scenario> BatchScenarios();
std::vector<Scenario> CascadeScenarios();
std::vector<Scenario> JsonScenarios();
std::vector<Scenario> PredictRestScenarios();
std::vector<Scenario> InferRestScenarios();
std::vector<Scenario> HubScenarios();
std::vector<Scenario> HubFloodScenarios();
std::vector<Scenario> EmbeddingScenarios();
std::vector<Scenario> EmbeddingHotPagesScenarios();
std::vector<Scenario> EmbeddingWireScenarios();
std::vector<Scenario> EmbeddingFirstAnswerScenarios();
std::vector<Scenario> ResultCacheScenarios();

}  // namespace portico::bench
