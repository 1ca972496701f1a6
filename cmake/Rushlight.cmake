# SPDX-License-Identifier: Apache-2.0
# What every folder's CMakeLists.txt is made of.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON) # libraries outside of the system's folders are found again

add_library(rushlight_flags INTERFACE)
target_compile_definitions(rushlight_flags INTERFACE _GNU_SOURCE)
target_compile_options(rushlight_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wvla -fno-math-errno
                       $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>)
if(RUSHLIGHT_WERROR)
  target_compile_options(rushlight_flags INTERFACE -Werror)
endif()
if(RUSHLIGHT_SANITIZE)
  target_compile_options(rushlight_flags INTERFACE -fsanitize=${RUSHLIGHT_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(rushlight_flags INTERFACE -fsanitize=${RUSHLIGHT_SANITIZE})
endif()

# rushlight_layer(NAME SOURCES ... DEPENDS ...): one folder of runtime/ as the static library rl_NAME. It links only
# the layers that DEPENDS names, so an upward call is a link error in that layer's own tests.
function(rushlight_layer name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(rl_${name} STATIC ${arg_SOURCES})
  target_include_directories(rl_${name} PUBLIC ${PROJECT_SOURCE_DIR}/runtime ${PROJECT_SOURCE_DIR}/runtime/include
                             ${PROJECT_BINARY_DIR}/runtime/include)
  target_link_libraries(rl_${name} PRIVATE rushlight_flags)
  target_compile_definitions(rl_${name} PRIVATE RUSHLIGHT_VERSION="${PROJECT_VERSION}")
  foreach(layer ${arg_DEPENDS})
    target_link_libraries(rl_${name} PUBLIC rl_${layer})
  endforeach()
endfunction()

# rushlight_test(NAME LABEL unit|ops|backend|integration [THREADS] SOURCES ... LINK ...): a cmocka program and its CTest
# entry. THREADS: it uses threads, so it is run under the thread sanitizer too.
function(rushlight_test name)
  cmake_parse_arguments(arg "THREADS" "LABEL" "SOURCES;LINK" ${ARGN})
  if(NOT RUSHLIGHT_TESTS)
    return()
  endif()
  add_executable(test_${name} ${arg_SOURCES})
  target_link_libraries(test_${name} PRIVATE rushlight_flags ${arg_LINK} cmocka::cmocka)
  target_compile_definitions(test_${name} PRIVATE TEST_BINARY_DIR="${PROJECT_BINARY_DIR}"
                             TEST_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND test_${name})
  set(labels ${arg_LABEL})
  if(arg_THREADS)
    list(APPEND labels threads)
  endif()
  # OpenCL's drivers are looked for in tests/opencl alone: they are large, and not clean under the sanitizers.
  set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT 1200 ENVIRONMENT
                       OCL_ICD_VENDORS=${PROJECT_BINARY_DIR}/no_vendors)
endfunction()

# rushlight_backend(NAME SOURCES ... LINK ...): a plugin rushlight_backend_NAME.so that sees only backend.h and support/.
function(rushlight_backend name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_library(rushlight_backend_${name} MODULE ${arg_SOURCES})
  set_target_properties(rushlight_backend_${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY
                        ${PROJECT_BINARY_DIR}/lib/rushlight)
  target_include_directories(rushlight_backend_${name} PRIVATE ${PROJECT_SOURCE_DIR}/runtime/include
                             ${PROJECT_SOURCE_DIR}/backends/support)
  target_link_libraries(rushlight_backend_${name} PRIVATE rushlight_flags ${arg_LINK} m)
  target_link_options(rushlight_backend_${name} PRIVATE
                      -Wl,--version-script=${PROJECT_SOURCE_DIR}/backends/support/plugin.map)
  set_property(TARGET rushlight_backend_${name} APPEND PROPERTY LINK_DEPENDS
               ${PROJECT_SOURCE_DIR}/backends/support/plugin.map)
endfunction()
