#include "embed/service.h"

int main(int argc, char **argv)
{
    return service_main(argc, argv, &embed_definition);
}
