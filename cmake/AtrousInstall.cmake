# cmake --install puts the archive, the headers (under include/atrous/) and the package files for find_package(atrous) in place.

include(CMakePackageConfigHelpers)

install(TARGETS atrous EXPORT atrousTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/atrous)
install(FILES ${PROJECT_BINARY_DIR}/include/atrous/core/config.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/atrous/core)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/atrous.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/atrous)
install(EXPORT atrousTargets NAMESPACE atrous:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/atrous)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/atrousConfig.cmake.in ${PROJECT_BINARY_DIR}/atrousConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/atrous)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/atrousConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/atrousConfig.cmake ${PROJECT_BINARY_DIR}/atrousConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/atrous)
