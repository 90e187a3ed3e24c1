# Which commit this is. Included by CMakeLists.txt behind portico_library(cli ...): every build writes
# generated/version/cli/version_stamp.h, and touches it only when the commit changed.
if(CMAKE_SCRIPT_MODE_FILE)
  set(commit "unknown")
  execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
                  OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit ${head})
    execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no
                    OUTPUT_VARIABLE changes ERROR_QUIET)
    if(changes)
      string(APPEND commit "-dirty")
    endif()
  endif()
  file(CONFIGURE OUTPUT ${STAMP} @ONLY CONTENT [[
#define PORTICO_VERSION "@VERSION@"
#define PORTICO_COMMIT "@commit@"
]])
  return()
endif()

set(stamp_folder ${CMAKE_BINARY_DIR}/generated/version)
add_custom_target(portico_version ALL
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DVERSION=${PROJECT_VERSION}
          -DSTAMP=${stamp_folder}/cli/version_stamp.h -P ${CMAKE_CURRENT_LIST_FILE}
  BYPRODUCTS ${stamp_folder}/cli/version_stamp.h VERBATIM)
add_dependencies(portico_cli portico_version)
target_include_directories(portico_cli PRIVATE ${stamp_folder})
