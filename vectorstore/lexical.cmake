# The pure full-text library: indexing and ranking without I/O.
file(GLOB lexical_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/lexical*.c)
if(lexical_sources AND TARGET carrel_text)
  add_library(carrel_lexical STATIC ${lexical_sources})
  target_include_directories(carrel_lexical PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(carrel_lexical PUBLIC carrel_text carrel_base PRIVATE carrel_warnings m)
endif()
