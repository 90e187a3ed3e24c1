#pragma once

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace portico {

/// A root certificate and a server's that it signed, for 127.0.0.1 and nothing else, made with the openssl command:
/// root.pem, server.pem, server.key.
class TestCertificates {
 public:
  TestCertificates() {
    folder_.Write("names", "subjectAltName=IP:127.0.0.1\n");
    Openssl("req -x509 -newkey rsa:2048 -nodes -subj /CN=root -days 2 -keyout root.key -out root.pem");
    Openssl("req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr");
    Openssl(
        "x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -extfile names -out server.pem");
  }

  std::string File(absl::string_view name) const { return folder_.File(name); }

 private:
  void Openssl(const std::string& arguments) {
    const std::string command = absl::StrCat("cd '", folder_.path(), "' && openssl ", arguments, " 2>/dev/null");
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }

  const TempFolder folder_;
};

}  // namespace portico
