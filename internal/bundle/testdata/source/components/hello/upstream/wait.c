#include <stdio.h>

#define TEXT(x) #x
#define STRING(x) TEXT(x)

int main(void) {
  puts("wait " STRING(VERSION));
  return 0;
}
