#include "generate/service.h"

int main(int argc, char **argv)
{
    return service_main(argc, argv, &generate_definition);
}
