# carrel_proto(NAME FILE [IMPORTS dir...]): a static library of protobuf-c messages; users include
# "<file>.pb-c.h". Generated code is not held to our warnings.
find_program(PROTOC_C protoc-c REQUIRED)
function(carrel_proto name file)
  cmake_parse_arguments(P "" "" "IMPORTS;LINK" ${ARGN})
  get_filename_component(dir ${CMAKE_CURRENT_SOURCE_DIR}/${file} DIRECTORY)
  get_filename_component(stem ${file} NAME_WE)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${out})
  set(imports -I${dir})
  foreach(i ${P_IMPORTS})
    list(APPEND imports -I${CMAKE_SOURCE_DIR}/${i})
  endforeach()
  add_custom_command(OUTPUT ${out}/${stem}.pb-c.c ${out}/${stem}.pb-c.h
    COMMAND ${PROTOC_C} ${imports} --c_out=${out} ${stem}.proto
    DEPENDS ${dir}/${stem}.proto WORKING_DIRECTORY ${dir} VERBATIM)
  add_library(${name} STATIC ${out}/${stem}.pb-c.c ${out}/${stem}.pb-c.h)
  target_include_directories(${name} SYSTEM PUBLIC ${out})
  target_compile_options(${name} PRIVATE -w)
  target_link_libraries(${name} PUBLIC PkgConfig::PROTOBUF_C ${P_LINK})
endfunction()
