#include "cli/curve_keys.h"

#include <sys/stat.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kPublic = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
const std::string kSecret = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
const std::string kOther = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

class CurveKeysTest : public ::testing::Test {
 protected:
  CurveKeysTest() {
    own_ = folder_.Write("own", kPublic + "\n" + kSecret + "\n");
    chmod(own_.c_str(), 0600);
    allow_ = folder_.Write("allow", kPublic + "\n\n" + kOther + "\n");
  }
  absl::Status Read(const std::string& server = "") { return ReadCurveKeys(own_, allow_, server, &listen_, &call_); }

  const TempFolder folder_;
  std::string own_, allow_;
  TransportSecurity listen_, call_;
};

TEST_F(CurveKeysTest, NodesAreTakenToShareAKeyPairUnlessToldOtherwise) {
  ASSERT_TRUE(Read().ok()) << Read();
  EXPECT_EQ(listen_.own_public_key, kPublic);
  EXPECT_EQ(listen_.own_secret_key, kSecret);
  EXPECT_THAT(listen_.allowed_keys, ElementsAre(kPublic, kOther));
  EXPECT_EQ(call_.own_secret_key, kSecret);
  EXPECT_EQ(call_.peer_public_key, kPublic);
  ASSERT_TRUE(Read(folder_.Write("server", kOther)).ok());
  EXPECT_EQ(call_.peer_public_key, kOther);
}

TEST_F(CurveKeysTest, KeyThatOthersMayReadIsRefused) {
  chmod(own_.c_str(), 0640);
  EXPECT_TRUE(absl::IsPermissionDenied(Read()));
  EXPECT_THAT(std::string(Read().message()), HasSubstr("chmod 600"));
}

TEST_F(CurveKeysTest, FilesThatDoNotFitAreRefusedAndSecretsAreNotShown) {
  folder_.Write("allow", "");
  EXPECT_THAT(std::string(Read().message()), HasSubstr("got no keys"));
  folder_.Write("allow", kPublic);
  folder_.Write("own", kPublic + "\n");
  EXPECT_THAT(std::string(Read().message()), HasSubstr("got 1 keys, want 2"));
  folder_.Write("own", kPublic + "\n" + kSecret + "x\n");
  EXPECT_THAT(std::string(Read().message()), HasSubstr("own:2: key: got 41 characters that are no CURVE key"));
  EXPECT_THAT(std::string(Read().message()), ::testing::Not(HasSubstr(kSecret)));
}

}  // namespace
}  // namespace portico
