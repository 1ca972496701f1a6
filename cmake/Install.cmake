# SPDX-License-Identifier: Apache-2.0
# The install tree: bin/rushlight, lib/librushlight.so, lib/rushlight/ (backends), include/rushlight/,
# share/rushlight/sdk/ (what a plugin is built from), CMake package and pkg-config file.
include(CMakePackageConfigHelpers)

# Libraries that `./dev setup` unpacked below .deps/, for want of the rights to install them, go into the tree too, so that
# it can be moved: beside the backends, where librushlight looks first.
set(private_libraries "")
foreach(library ${ZLIB_LIBRARIES} ${CJSON_LIBRARY})
  cmake_path(IS_PREFIX PROJECT_SOURCE_DIR "${library}" NORMALIZE private)
  if(private)
    file(GLOB names "${library}.*") # libcjson.so.1 and what it points to
    list(APPEND private_libraries ${names})
  endif()
endforeach()
if(private_libraries)
  install(FILES ${private_libraries} DESTINATION ${CMAKE_INSTALL_LIBDIR}/rushlight)
  set_target_properties(rushlight PROPERTIES INSTALL_RPATH "$ORIGIN/rushlight")
endif()

install(TARGETS rushlight EXPORT rushlight-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET rushlight_command)
  install(TARGETS rushlight_command DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY runtime/include/rushlight DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h"
        PATTERN "*.hpp")
install(DIRECTORY ${PROJECT_BINARY_DIR}/runtime/include/rushlight DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")

# Backends. oneDNN's own library goes beside its plugin (backends/onednn installs both).
foreach(backend ref onednn onednn_library opencl)
  if(TARGET rushlight_backend_${backend})
    install(TARGETS rushlight_backend_${backend} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/rushlight)
  endif()
endforeach()

# The SDK: sources that a plugin is built from, the reference backend to copy, and the conformance suite.
set(sdk ${CMAKE_INSTALL_DATADIR}/rushlight/sdk)
install(DIRECTORY backends/support/ DESTINATION ${sdk} FILES_MATCHING PATTERN "*.h" PATTERN "*.c" PATTERN "plugin.map"
        PATTERN "*.md")
install(DIRECTORY backends/ref/ DESTINATION ${sdk}/ref FILES_MATCHING PATTERN "*.h" PATTERN "*.c" PATTERN "*.md")
install(DIRECTORY tests/conformance/ DESTINATION ${sdk}/conformance FILES_MATCHING PATTERN "*.h" PATTERN "*.c"
        PATTERN "*.md")
add_library(rushlight_sdk INTERFACE)
set_target_properties(rushlight_sdk PROPERTIES EXPORT_NAME sdk)
target_include_directories(rushlight_sdk INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
                           $<INSTALL_INTERFACE:${sdk}>)
install(TARGETS rushlight_sdk EXPORT rushlight-targets)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/rushlight)
set(rushlight_sdk_dir ${sdk})
set(rushlight_backend_dir ${CMAKE_INSTALL_LIBDIR}/rushlight)
install(EXPORT rushlight-targets NAMESPACE rushlight:: DESTINATION ${package})
configure_package_config_file(cmake/rushlight-config.cmake.in rushlight-config.cmake INSTALL_DESTINATION ${package}
                              PATH_VARS rushlight_sdk_dir rushlight_backend_dir)
write_basic_package_version_file(rushlight-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/rushlight-config.cmake ${PROJECT_BINARY_DIR}/rushlight-config-version.cmake
        DESTINATION ${package})
configure_file(cmake/rushlight.pc.in rushlight.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/rushlight.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
