# `cmake --install`: besides the program, the package that find_package(gradus) finds: gradus::framework and gradus::models.
# It is for machines like the one that it was built on (the place of the BLAS) and for the processors of GRADUS_ARCH.
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/gradus)
set_target_properties(gradus_framework PROPERTIES EXPORT_NAME framework)
set_target_properties(gradus_models PROPERTIES EXPORT_NAME models)
target_compile_features(gradus_framework PUBLIC cxx_std_20)

install(TARGETS gradus_framework gradus_models EXPORT gradus-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gradus)
install(DIRECTORY framework models DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/gradus FILES_MATCHING PATTERN "*.h")
install(EXPORT gradus-targets NAMESPACE gradus:: DESTINATION ${package_folder})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/gradus-config.cmake.in ${PROJECT_BINARY_DIR}/gradus-config.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/gradus-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/gradus-config.cmake ${PROJECT_BINARY_DIR}/gradus-config-version.cmake
        DESTINATION ${package_folder})
