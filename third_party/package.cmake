# `cmake --install`: besides the program, the package that find_package(gradus) and pkg-config find: gradus::framework and
# gradus::models.
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

# The same for pkg-config. What a static library needs is the program's to link, what a shared one needs it has.
set(pc_folder ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH GRADUS_PREFIX_FROM_PC /${pc_folder} /)
string(REGEX REPLACE "/$" "" GRADUS_PREFIX_FROM_PC "${GRADUS_PREFIX_FROM_PC}")
get_target_property(GRADUS_PC_LIBS gradus_framework INTERFACE_LINK_OPTIONS)
list(TRANSFORM GRADUS_PC_LIBS REPLACE "^LINKER:" "-Wl,")
set(GRADUS_PC_LIBS_PRIVATE ${GRADUS_GEMM_LIBRARIES} ${GRADUS_XXHASH_LIBRARY} ${OpenMP_CXX_FLAGS} ${CMAKE_DL_LIBS})
list(TRANSFORM GRADUS_PC_LIBS_PRIVATE REPLACE "^([^/-].*)$" "-l\\1")
if(GRADUS_FRAMEWORK_TYPE STREQUAL STATIC)
  list(APPEND GRADUS_PC_LIBS ${GRADUS_PC_LIBS_PRIVATE})
  set(GRADUS_PC_LIBS_PRIVATE "")
endif()
list(JOIN GRADUS_PC_LIBS " " GRADUS_PC_LIBS)
list(JOIN GRADUS_PC_LIBS_PRIVATE " " GRADUS_PC_LIBS_PRIVATE)
configure_file(${CMAKE_CURRENT_LIST_DIR}/gradus.pc.in ${PROJECT_BINARY_DIR}/gradus.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/gradus.pc DESTINATION ${pc_folder})
