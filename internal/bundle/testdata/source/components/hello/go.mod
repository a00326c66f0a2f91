module example.org/components/hello

go 1.26.0

tool example.org/hello

require example.org/hello v1.2.3

replace example.org/hello => ./upstream
