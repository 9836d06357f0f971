# The pure full-text library: indexing and ranking without I/O.
file(GLOB lexical_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/lexical*.c)
if(lexical_sources AND TARGET carrel_text)
  add_library(carrel_lexical STATIC ${lexical_sources})
  # their inner loops over whole blocks become vector code
  set_source_files_properties(lexical_list.c lexical_match.c PROPERTIES COMPILE_OPTIONS "$<$<CONFIG:Release>:-O3>")
  target_include_directories(carrel_lexical PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(carrel_lexical PUBLIC carrel_text carrel_base PRIVATE carrel_warnings m)

  carrel_test(unit/vectorstore/lexical_list LINK carrel_lexical)
  foreach(unit lexical lexical_query)
    carrel_test(unit/vectorstore/${unit} LINK carrel_lexical m TIMEOUT 120
      SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/vectorstore/memory_source.c)
  endforeach()
  carrel_fuzz(lexical LINK carrel_lexical)
  add_executable(bench-lexical ${CMAKE_SOURCE_DIR}/tests/bench/lexical.c
    ${CMAKE_SOURCE_DIR}/tests/bench/lexical_set.c
    ${CMAKE_SOURCE_DIR}/tests/unit/vectorstore/memory_source.c)
  target_link_libraries(bench-lexical PRIVATE carrel_lexical carrel_lsa carrel_fuse PkgConfig::JANSSON m)
  target_include_directories(bench-lexical PRIVATE ${CMAKE_SOURCE_DIR})
  set_target_properties(bench-lexical PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endif()
