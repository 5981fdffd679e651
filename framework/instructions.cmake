# GRADUS_ARCH: for which processors the code is compiled.
#   native    the building machine's; the program refuses one that lacks what it was compiled to use
#   portable  every x86-64. The framework is a shared library, built once for each level of x86-64 from the same sources, and
#             glibc's dynamic loader takes the highest level that the processor has: lib/libgradus_framework.so, or the one in
#             lib/glibc-hwcaps/LEVEL. Elsewhere it is one library, for the compiler's default
#   other     any -march; empty: the compiler's default
set(GRADUS_ARCH native CACHE STRING "Processors to compile for: native, portable, any -march, or empty: the compiler's default")

set(GRADUS_LEVELS "")
set(GRADUS_LEVEL_LIBRARIES "")
set(GRADUS_MARCH ${GRADUS_ARCH})
if(GRADUS_ARCH STREQUAL "portable")
  set(GRADUS_MARCH "")
  include(CheckCXXCompilerFlag)
  include(CheckCXXSourceCompiles)
  check_cxx_compiler_flag(-march=x86-64-v4 GRADUS_COMPILER_KNOWS_LEVELS)
  check_cxx_source_compiles("#include <stdlib.h>
    #if !__GLIBC_PREREQ(2, 33)
    #error
    #endif
    int main() {}" GRADUS_LOADER_KNOWS_LEVELS)
  if(GRADUS_COMPILER_KNOWS_LEVELS AND GRADUS_LOADER_KNOWS_LEVELS)
    set(GRADUS_MARCH x86-64)
    set(GRADUS_LEVELS x86-64-v3 x86-64-v4)
  endif()
endif()

# Every target's property GRADUS_MARCH is what it is compiled for, from here on.
define_property(TARGET PROPERTY GRADUS_MARCH INITIALIZE_FROM_VARIABLE GRADUS_MARCH)
set(march $<TARGET_PROPERTY:GRADUS_MARCH>)
set(has_wide_vectors $<OR:$<STREQUAL:${march},native>,$<STREQUAL:${march},x86-64-v4>>)
target_compile_options(gradus_options INTERFACE
  $<$<BOOL:${march}>:-march=${march}>
  $<$<AND:${has_wide_vectors},$<CXX_COMPILER_ID:GNU>>:-mprefer-vector-width=512>)

if(GRADUS_LEVELS)
  set(GRADUS_FRAMEWORK_TYPE SHARED)
  set(GRADUS_INSTRUCTIONS_CHOSEN "chosen at start")
  list(JOIN GRADUS_LEVELS " or " GRADUS_INSTRUCTIONS)
  string(PREPEND GRADUS_INSTRUCTIONS "x86-64 or ")
  list(TRANSFORM GRADUS_LEVELS PREPEND gradus_framework_ OUTPUT_VARIABLE GRADUS_LEVEL_LIBRARIES)
else()
  set(GRADUS_FRAMEWORK_TYPE STATIC)
  set(GRADUS_INSTRUCTIONS_CHOSEN "fixed by the build")
  set(GRADUS_INSTRUCTIONS "${GRADUS_MARCH}")
  if(NOT GRADUS_MARCH)
    set(GRADUS_INSTRUCTIONS "the compiler's default")
  endif()
endif()

# What base/instructions.cpp says of the target that it is compiled for.
set(GRADUS_INSTRUCTIONS_DEFINITIONS
  "GRADUS_INSTRUCTIONS=\"$<IF:$<BOOL:${march}>,${march},the compiler's default>\""
  "GRADUS_INSTRUCTIONS_CHOSEN=\"${GRADUS_INSTRUCTIONS_CHOSEN}\"")

# gradus_framework once more for each level. The floors that compute are compiled for the level; the objects of the others are
# taken from gradus_framework. Of an inline function that library and program both have, the loader would take the program's,
# which is for every processor; with -Bsymbolic-functions a library calls its own.
function(gradus_build_levels)
  if(NOT GRADUS_LEVELS)
    return()
  endif()
  set(computes "base|random|tensor|kernels|autograd|ops")
  get_target_property(sources gradus_framework SOURCES)
  list(FILTER sources INCLUDE REGEX "^(${computes})/")
  get_target_property(libraries gradus_framework LINK_LIBRARIES)
  set(folder ${CMAKE_BINARY_DIR}/lib)
  set_target_properties(gradus_framework PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${folder})
  foreach(level ${GRADUS_LEVELS})
    set(library gradus_framework_${level})
    add_library(${library} SHARED ${sources})
    # Before these come the objects of its own sources: of an inline function that several have, the linker takes the first.
    target_link_libraries(${library} PRIVATE
      "$<FILTER:$<TARGET_OBJECTS:gradus_framework>,EXCLUDE,[.]dir/([.]/)?(${computes})/>" "${libraries}")
    set_target_properties(${library} PROPERTIES
      GRADUS_MARCH ${level} OUTPUT_NAME gradus_framework LIBRARY_OUTPUT_DIRECTORY ${folder}/glibc-hwcaps/${level})
    install(TARGETS ${library} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/glibc-hwcaps/${level})
  endforeach()
  foreach(library gradus_framework ${GRADUS_LEVEL_LIBRARIES})
    target_compile_options(${library} PRIVATE -fno-semantic-interposition)
    target_link_options(${library} PRIVATE -Wl,-Bsymbolic-functions)
  endforeach()
endfunction()
