# The sandboxed extractor, the pool that runs it, and the chunker.
file(GLOB format_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/formats/*.c)
list(FILTER format_sources EXCLUDE REGEX detect)
add_library(carrel_utf8 STATIC utf8.c legible.c)
target_link_libraries(carrel_utf8 PUBLIC carrel_base PRIVATE carrel_warnings)

add_library(carrel_formats STATIC ${format_sources} piece.c render.c picture.c member_name.c)
target_link_libraries(carrel_formats PUBLIC carrel_base carrel_text carrel_utf8 proto_extract
  PRIVATE carrel_warnings ${CMAKE_DL_LIBS} PkgConfig::XML2 PkgConfig::ZIP PkgConfig::MD4C PkgConfig::UCHARDET PkgConfig::ARCHIVE PkgConfig::ZLIB PkgConfig::JANSSON m)

add_executable(carrel-extract extract_main.c extract_serve.c formats/detect.c)
target_link_libraries(carrel-extract PRIVATE carrel_warnings carrel_formats)

add_executable(bench-measure ${CMAKE_SOURCE_DIR}/tests/bench/measure.c)
target_link_libraries(bench-measure PRIVATE carrel_warnings)
set_target_properties(bench-measure PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

add_library(carrel_extract_pool STATIC meta.c extractor.c extractor_take.c starter.c turns.c piece.c
  formats/detect.c formats/binary.c)
target_link_libraries(carrel_extract_pool PUBLIC carrel_base carrel_utf8 proto_extract
  PRIVATE carrel_warnings)
add_dependencies(carrel_extract_pool carrel-extract)

add_library(carrel_chunk STATIC chunk.c chunk_group.c chunk_table.c chunk_text.c sentence.c)
target_link_libraries(carrel_chunk PUBLIC carrel_base carrel_utf8 proto_extract
  PRIVATE carrel_warnings PkgConfig::PCRE2 PkgConfig::UTF8PROC)

carrel_test(unit/base/sandbox/sandbox LINK carrel_base)
carrel_test(unit/ingest/chunk LINK carrel_chunk)
carrel_test(unit/ingest/sentence LINK carrel_chunk)
carrel_test(unit/ingest/ocr LINK carrel_formats)
carrel_test(unit/ingest/ocr_merge LINK carrel_formats SOURCES ${CMAKE_SOURCE_DIR}/ingest/ocr_merge.c)
carrel_test(unit/ingest/image LINK carrel_formats)
carrel_test(unit/ingest/formats LINK carrel_formats PkgConfig::ZIP
  SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/ingest/fixtures.c TIMEOUT 120)
carrel_test(unit/ingest/pdf_extras LINK carrel_formats PkgConfig::ZIP
  SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/ingest/fixtures.c TIMEOUT 120)
carrel_test(unit/ingest/pdf_layout LINK carrel_formats PkgConfig::ZIP
  SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/ingest/fixtures.c TIMEOUT 120)
carrel_test(unit/ingest/text_formats LINK carrel_formats PkgConfig::ZIP
  SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/ingest/fixtures.c TIMEOUT 120)
set(ole_fixtures ${CMAKE_SOURCE_DIR}/tests/unit/ingest/cfb_fixtures.c
  ${CMAKE_SOURCE_DIR}/tests/unit/ingest/ole_fixtures.c)
carrel_test(unit/ingest/ole LINK carrel_formats PkgConfig::ZIP
  SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/ingest/fixtures.c ${ole_fixtures} TIMEOUT 120)
add_executable(write-samples ${CMAKE_SOURCE_DIR}/tests/fixture/write_samples.c ${ole_fixtures})
target_link_libraries(write-samples PRIVATE carrel_warnings carrel_base PkgConfig::ARCHIVE)
target_include_directories(write-samples PRIVATE ${CMAKE_SOURCE_DIR})
set_target_properties(write-samples PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
carrel_fuzz(ole LINK carrel_formats SOURCES ${ole_fixtures})
carrel_test(unit/ingest/meta LINK carrel_extract_pool)
carrel_test(unit/ingest/info LINK carrel_formats PkgConfig::ZIP
  SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/ingest/fixtures.c TIMEOUT 120)
carrel_test(unit/ingest/turns LINK carrel_extract_pool)
carrel_test(unit/ingest/extractor LINK carrel_extract_pool carrel_formats PkgConfig::ZIP
  SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/ingest/fixtures.c TIMEOUT 120
  DEFINES CARREL_BAD_PROGRAM="${CMAKE_BINARY_DIR}/tests/bad-extractor")
# Also in release builds, whose sandbox is tested from a build with tests (tests/CMakeLists.txt).
add_executable(bad-extractor ${CMAKE_SOURCE_DIR}/tests/unit/ingest/bad_extractor.c extract_serve.c piece.c)
target_link_libraries(bad-extractor PRIVATE carrel_warnings carrel_base proto_extract)
set_target_properties(bad-extractor PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
if(CARREL_TESTS)
  add_dependencies(test-unit-ingest-extractor bad-extractor)
endif()

carrel_fuzz(dates LINK carrel_formats)
carrel_fuzz(detect LINK carrel_formats SOURCES ${CMAKE_SOURCE_DIR}/ingest/formats/detect.c)
carrel_fuzz(lzfu LINK carrel_formats)
carrel_fuzz(image LINK carrel_formats)
foreach(format archive html markdown text bbox pdf csv json mail rtf xml code rst asciidoc subtitles ocr org ipynb)
  carrel_fuzz(${format} LINK carrel_formats)
endforeach()
carrel_fuzz(chunk LINK carrel_chunk)
carrel_fuzz(office LINK carrel_formats PkgConfig::ZIP)
foreach(unit office office_cost odf epub)
  carrel_test(unit/ingest/${unit} LINK carrel_formats PkgConfig::ZIP
    SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/ingest/fixtures.c TIMEOUT 120)
endforeach()
carrel_test(unit/ingest/archive LINK carrel_formats PkgConfig::ARCHIVE)
