#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/byte_text.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/hub_diff.h"
#include "cli/hub_flags.h"
#include "cli/hub_gc.h"
#include "cli/hub_text.h"
#include "cli/hub_upgrade.h"
#include "cli/report_error.h"
#include "cli/terminal.h"
#include "cli/terminal_text.h"
#include "cli/version.h"
#include "hub/local_store.h"
#include "hub/nested_modules.h"
#include "hub/publish.h"

namespace portico {
namespace {

absl::Status RunPublish(const HubFlags& flags, const std::string& handle, Publication publication) {
  ASSIGN_OR_RETURN(publication.handle, ParseHandle(handle));
  const std::string& root = flags.store;
  if (absl::StartsWith(root, "s3://") || absl::StartsWith(root, "http://") || absl::StartsWith(root, "https://")) {
    const std::string copy = absl::StartsWith(root, "s3://") ? absl::StrCat("aws s3 sync FOLDER ", root)
                                                             : "rsync -a FOLDER/ HOST:ITS/FOLDER/";
    return absl::InvalidArgumentError(absl::StrCat("store '", root,
                                                   "': got a server, want the folder that it serves; publish into a "
                                                   "folder and copy that there (",
                                                   copy, ")"));
  }
  if (root.empty()) {
    return absl::InvalidArgumentError("store: got none, want --store FOLDER, or PORTICO_HUB set to one");
  }
  publication.tool = VersionText();
  absl::StatusOr<PublishResult> result;
  {
    HubProgress progress;
    result = Publish(root, publication, Clock::Real(),
                     [&](uint64_t done, uint64_t all) { progress.Show(handle, done, all); });
  }
  if (absl::IsResourceExhausted(result.status()) || absl::IsPermissionDenied(result.status())) {
    return absl::Status(
        result.status().code(),
        absl::StrCat(result.status().message(), "; nothing was published: the store '", root,
                     "' needs room for another copy of the package, in a folder that you may write in"));
  }
  if (!result.ok()) return result.status();
  absl::PrintF("%s %s, digest %s, %s\n  at   %s\n", handle,
               result->was_there ? "is there already with the same content" : "published",
               result->manifest.digest.Short(), ByteText(result->manifest.bytes()), result->folder);
  for (const std::string& line : result->unlisted) {
    std::fputs(absl::StrCat("not in the store's list: ", ForTerminal(line), "\n").c_str(), stderr);
  }
  for (const PortalTarget& target : result->missing) {
    std::fputs(absl::StrCat("it calls '", ForTerminal(target.name), "' of digest ", target.digest.Short(),
                            ", which is not in this store; publish that, too, or have it in the mesh by a path\n")
                   .c_str(),
               stderr);
  }
  return absl::OkStatus();
}

void AddPublish(CLI::App& hub, int& exit_code) {
  struct Flags {
    HubFlags hub;
    std::string handle;
    Publication publication;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = hub.add_subcommand("publish", "Put a package into a store under a handle, for good");
  Publication& publication = flags->publication;
  command->add_option("source", publication.source, "A version folder, a folder of versions, or a model file")
      ->required()
      ->type_name("PATH");
  command->add_option("handle", flags->handle, "PUBLISHER/NAME/VERSION")->required()->type_name("HANDLE");
  flags->hub.AddStore(*command);
  command
      ->add_option("--family", publication.family,
                   "Modules of a family have the same signatures, so that one stands in for another")
      ->type_name("NAME");
  command->add_option("--asset", publication.assets, "A file that travels along, as assets/NAME; may be repeated")
      ->type_name("FILE");
  command->add_option("--description", publication.description, "What it is, for people")->type_name("TEXT");
  command->add_option("--license", publication.license, "Under which licence it may be used")->type_name("TEXT");
  command->footer(
      "The same content again is fine; other content under a handle that is taken is refused.\n"
      "Example:\n"
      "  portico hub publish packages/hub/encoder/1 acme/encoder/1 --store /srv/hub --asset words.txt\n"
      "  portico hub publish encoder.onnx acme/encoder/2 --store /srv/hub --family image-encoder");
  command->callback([flags, &exit_code] {
    SetLogLevel("off");
    exit_code = ReportError("hub publish", RunPublish(flags->hub, flags->handle, flags->publication));
  });
}

void PrintPulled(const HubCache::Pulled& pulled) {
  absl::PrintF("%s %s, digest %s, %s\n  at   %s\n", pulled.manifest.handle.ToString(),
               pulled.was_there ? "is in the cache, all files as published" : "pulled and checked",
               pulled.manifest.digest.Short(), ByteText(pulled.manifest.bytes()), pulled.folder);
}

absl::Status RunPull(const HubFlags& flags, const std::vector<std::string>& handles) {
  std::vector<Handle> wanted;
  for (const std::string& text : handles) {
    ASSIGN_OR_RETURN(wanted.emplace_back(), ParseHandle(text));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, flags.OpenStore());
  ASSIGN_OR_RETURN(HubCache cache, flags.OpenCache());
  for (const Handle& handle : wanted) {
    ASSIGN_OR_RETURN(const HubCache::Pulled pulled, cache.Pull(*store, handle));
    PrintPulled(pulled);
    ASSIGN_OR_RETURN(const NestedModules called, PullNested(cache, *store, pulled.manifest));
    for (const HubCache::Pulled& one : called.pulled) PrintPulled(one);
    for (const std::string& missing : called.missing) {
      std::fputs(absl::StrCat("not pulled: ", ForTerminal(missing), "\n").c_str(), stderr);
    }
  }
  return absl::OkStatus();
}

void AddPull(CLI::App& hub, int& exit_code) {
  struct Flags {
    HubFlags hub;
    std::vector<std::string> handles;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = hub.add_subcommand("pull", "Download modules, and what they call, into the cache and check them");
  command->add_option("handles", flags->handles, "PUBLISHER/NAME/VERSION")->required()->type_name("HANDLE...");
  flags->hub.AddStore(*command);
  flags->hub.AddCache(*command);
  command->footer(
      "A download that broke goes on where it ended. What is in the cache is checked, and pulled anew where a file is "
      "damaged.\n"
      "Example:\n  portico hub pull acme/encoder/3 --store https://models.example.com/hub");
  command->callback([flags, &exit_code] {
    SetLogLevel("off");
    exit_code = ReportError("hub pull", RunPull(flags->hub, flags->handles));
  });
}

/// Modules of a store, and why those of a folder that are missing are not among them.
struct ModuleList {
  std::vector<ModuleEntry> entries;
  std::vector<std::pair<Handle, absl::Status>> unreadable;
};

absl::StatusOr<ModuleList> ListModules(Store& store) {
  ModuleList list;
  if (!absl::StartsWith(store.url(), "/")) {
    ASSIGN_OR_RETURN(list.entries, store.List());
    return list;
  }
  ASSIGN_OR_RETURN(FolderModules found, ReadModules(store.url()));
  for (const Manifest& module : found.modules) list.entries.push_back(EntryOf(module));
  list.unreadable = std::move(found.unreadable);
  return list;
}

absl::Status RunList(const HubFlags& flags, const std::string& filter, bool json) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, flags.OpenStore());
  ASSIGN_OR_RETURN(ModuleList list, ListModules(*store));
  std::vector<ModuleEntry>& entries = list.entries;
  const size_t all = entries.size() + list.unreadable.size();
  if (!filter.empty()) {
    const std::string folder = absl::StrCat(absl::StripSuffix(filter, "/"), "/");
    const auto is_other = [&](const Handle& handle) {
      return !absl::StartsWith(absl::StrCat(handle.ToString(), "/"), folder);
    };
    std::erase_if(entries, [&](const ModuleEntry& entry) { return is_other(entry.handle); });
    std::erase_if(list.unreadable, [&](const auto& entry) { return is_other(entry.first); });
  }
  if (entries.empty() && list.unreadable.empty() && all > 0) {
    return absl::NotFoundError(
        absl::StrCat("'", filter, "': got none of ", all, " modules in '", store->url(),
                     "', want a publisher, PUBLISHER/NAME or a handle; leave it out to see all"));
  }
  if (json) {
    std::fputs(ModuleListJson(entries).c_str(), stdout);
  } else if (entries.empty() && list.unreadable.empty()) {
    absl::PrintF("no modules in %s\n", store->url());
  } else {
    std::fputs(ModuleListText(entries, Terminal::Of(STDOUT_FILENO).columns).c_str(), stdout);
  }
  if (list.unreadable.empty()) return absl::OkStatus();
  std::fflush(stdout);
  for (const auto& [handle, why] : list.unreadable) {
    std::fputs(absl::StrCat("not listed: ", ForTerminal(why.message()), "\n").c_str(), stderr);
  }
  return absl::DataLossError(absl::StrCat(
      "store '", store->url(), "': got ", list.unreadable.size(), " of ", entries.size() + list.unreadable.size(),
      " modules whose manifest cannot be read (", list.unreadable.front().first.ToString(),
      list.unreadable.size() > 1 ? ", …" : "", "), want none; have them copied there anew, or remove their folders"));
}

void AddList(CLI::App& hub, int& exit_code) {
  struct Flags {
    HubFlags hub;
    std::string filter;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = hub.add_subcommand("list", "List the modules of a store");
  command->add_option("filter", flags->filter, "Only a publisher's, or the versions of PUBLISHER/NAME")
      ->type_name("PREFIX");
  flags->hub.AddStore(*command);
  command->add_flag("--json", flags->json, "A JSON array, for programs");
  command->footer("Example:\n  portico hub list acme/encoder --store /srv/hub");
  command->callback(
      [flags, &exit_code] { exit_code = ReportError("hub list", RunList(flags->hub, flags->filter, flags->json)); });
}

absl::Status RunShow(const HubFlags& flags, const std::string& text, bool json) {
  ASSIGN_OR_RETURN(const Handle handle, ParseHandle(text));
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, flags.OpenStore());
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(*store, handle));
  std::fputs((json ? FormatManifest(manifest) : ManifestText(manifest)).c_str(), stdout);
  return absl::OkStatus();
}

void AddShow(CLI::App& hub, int& exit_code) {
  struct Flags {
    HubFlags hub;
    std::string handle;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = hub.add_subcommand("show", "Show what was recorded of a module when it was published");
  command->add_option("handle", flags->handle, "PUBLISHER/NAME/VERSION")->required()->type_name("HANDLE");
  flags->hub.AddStore(*command);
  command->add_flag("--json", flags->json, "The manifest, for programs");
  command->footer("Example:\n  portico hub show acme/encoder/3 --store /srv/hub");
  command->callback(
      [flags, &exit_code] { exit_code = ReportError("hub show", RunShow(flags->hub, flags->handle, flags->json)); });
}

void AddDiff(CLI::App& hub, int& exit_code) {
  struct Flags {
    HubFlags hub;
    std::string before, after;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = hub.add_subcommand("diff", "Show how one module differs from another");
  command->add_option("before", flags->before, "A handle, or a version folder's path (./… or /…)")
      ->required()
      ->type_name("A");
  command->add_option("after", flags->after, "The same")->required()->type_name("B");
  flags->hub.AddStore(*command);
  flags->hub.AddCache(*command);
  command->footer(
      "Example:\n  portico hub diff acme/encoder/2 acme/encoder/3 --store /srv/hub\n"
      "  portico hub diff acme/encoder/3 ./packages/encoder/4 --store /srv/hub");
  command->callback([flags, &exit_code] {
    SetLogLevel("off");
    exit_code = ReportError("hub diff", RunHubDiff(flags->hub, flags->before, flags->after));
  });
}

void AddGc(CLI::App& hub, int& exit_code) {
  auto flags = std::make_shared<HubGcFlags>();
  CLI::App* command = hub.add_subcommand(
      "gc", "Remove modules that no mesh uses, from the cache or, with --store, from a folder's store");
  command->add_option("handles", flags->handles, "Only these; refused where one is used")->type_name("HANDLE...");
  command
      ->add_option(
          "--mesh", flags->meshes,
          "A mesh file whose modules stay: those it names and those its products' portals call; may be repeated")
      ->type_name("MESH.YAML");
  command
      ->add_option("--run-folder", flags->run_folders,
                   "Of a mesh that runs: what its nodes may still serve stays, too; may be repeated")
      ->type_name("DIR");
  command->add_flag("--all", flags->all, "There is no mesh: remove whatever nothing else needs");
  command->add_flag("--dry-run", flags->dry_run, "Say what would be removed, and remove nothing");
  // PORTICO_HUB says where modules come from; what is removed from there has to be said here.
  flags->hub.AddStore(*command, /*from_environment=*/false);
  flags->hub.AddCache(*command);
  command->footer(
      "A mesh file says what is wanted, a run folder what nodes serve until a roll-out has settled: give both.\n"
      "Example:\n  portico hub gc --mesh mesh.yaml --run-folder run --dry-run\n"
      "  portico hub gc acme/encoder/1 --store /srv/hub --mesh digits.yaml --mesh mail.yaml");
  command->callback([flags, command, &exit_code] {
    SetLogLevel("off");
    flags->from_store = command->get_option("--store")->count() > 0;
    exit_code = ReportError("hub gc", RunHubGc(*flags));
  });
}

}  // namespace

void AddHubCommand(CLI::App& app, int& exit_code) {
  CLI::App* hub = app.add_subcommand(
      "hub",
      "Publish, pull, list, show, compare and remove modules that products share; move products between versions");
  hub->require_subcommand(1);
  hub->footer(
      "Example:\n"
      "  portico hub publish packages/hub/encoder/1 acme/encoder/1 --store /srv/hub\n"
      "  portico hub pull acme/encoder/1 --store https://models.example.com/hub\n"
      "'portico hub publish --help' shows its options.");
  AddPublish(*hub, exit_code);
  AddPull(*hub, exit_code);
  AddList(*hub, exit_code);
  AddShow(*hub, exit_code);
  AddDiff(*hub, exit_code);
  AddHubUpgrade(*hub, exit_code);
  AddGc(*hub, exit_code);
}

}  // namespace portico
