# The whole build. A new file under src/ or tests/ needs no edit here.
BUILD   ?= build
CC      ?= gcc
CXX     ?= g++
PREFIX  ?= /usr/local
VERSION := 0.1.0

PKGS    := simdjson tomlplusplus libcurl libssl libcrypto expat libpq libmariadb zlib libzstd liblz4 libedit
WARN    := -Wall -Wextra -Wshadow -Wno-missing-field-initializers
FLAGS   := -O2 -g -fvisibility=hidden -Isrc -isystem deps/include $(shell pkg-config --cflags libpq libmariadb | sed s/-I/-isystem\ /g) -pthread $(WARN) \
           -D_GNU_SOURCE -DLAKEHOUSE_VERSION='"$(VERSION)"' $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
CFLAGS  += -std=gnu17 $(FLAGS)
CXXFLAGS += -std=c++17 $(FLAGS)
LDLIBS  = -Ldeps/lib -lduckdb -Wl,-rpath,'$(abspath deps/lib):$$ORIGIN/../lib/lakehouse' \
          $(shell pkg-config --libs $(PKGS)) -lstemmer -lstdc++ -lm -pthread -ldl -rdynamic

SRC     := $(filter-out src/main.c,$(wildcard src/*/*.c src/*/*.cc))
OBJ     := $(patsubst src/%,$(BUILD)/obj/%.o,$(SRC))
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/*/*_test.c))
TOOLS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/*/*_tool.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
KIT     := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/kit/*.c))

.PHONY: all demo demo-stop test check asan tsan fuzz bench bench-vector bench-lance layers format lint install clean
MAKEFLAGS += --no-print-directory
# What installs something goes on in a second make, for the flags of what it installed are asked for as a makefile is read.
all: ; @scripts/install-deps build && $(MAKE) $(BUILD)/lakehouse
demo: all
	@scripts/demo
demo-stop:
	@scripts/demo-stop

test: ; @scripts/install-deps test && $(MAKE) check
check: layers $(BUILD)/lakehouse $(TESTS) $(TOOLS) ; @BUILD=$(BUILD) tests/run $(TESTS)
# A shared libubsan beside libasan writes to stderr alone, which nobody reads of a server that a test started.
asan: ; @CRASH_KILLS=15 COMMITS=50 FAULTS=few $(MAKE) check BUILD=build/asan SAN=address,undefined CC="$(CC) -static-libubsan"
tsan: ; @CRASH_KILLS=15 COMMITS=50 FAULTS=few $(MAKE) check BUILD=build/tsan SAN=thread
fuzz: ; @$(MAKE) fuzzers BUILD=build/fuzz CC=clang CXX=clang++ SAN=fuzzer-no-link,address,undefined && tests/fuzz/run build/fuzz/fuzz
bench: ; @scripts/install-deps bench && $(MAKE) $(BUILD)/lakehouse $(BENCHES) && BUILD=$(BUILD) bench/run
bench-vector: ; @scripts/install-deps bench && $(MAKE) $(addprefix $(BUILD)/bench/,vector_ours vector_data) && BUILD=$(BUILD) bench/run vector
bench-lance: ; @scripts/install-deps test && $(MAKE) $(BUILD)/lakehouse $(addprefix $(BUILD)/bench/,lance lance_docs lance_index vector_data) && BUILD=$(BUILD) bench/run lance lance_docs lance_index
layers: ; @scripts/layers && echo "layers: every include is allowed by src/LAYERS"
format: ; @clang-format -i $$(git ls-files 'src/*.[ch]' 'src/*.cc' 'tests/*.[ch]' 'bench/*.[ch]')
lint: ; @scripts/lint
install: all
	install -D $(BUILD)/lakehouse $(DESTDIR)$(PREFIX)/bin/lakehouse
	install -D deps/lib/libduckdb.so $(DESTDIR)$(PREFIX)/lib/lakehouse/libduckdb.so
clean: ; rm -rf build

# V=1 shows the commands.
Q := $(if $(V),,@)
$(BUILD)/lakehouse: $(BUILD)/obj/main.c.o $(OBJ) ; $(Q)echo "  LD  $@" ; $(CC) $(CFLAGS) $^ -o $@ $(LDLIBS)
$(BUILD)/liblakehouse.a: $(OBJ) ; @rm -f $@ && ar rcs $@ $^
$(BUILD)/tests/%: tests/%.c $(KIT) $(BUILD)/liblakehouse.a
	$(Q)mkdir -p $(@D) && echo "  LD  $@" && $(CC) $(CFLAGS) -Itests -MMD -MP $< $(KIT) $(BUILD)/liblakehouse.a -o $@ $(LDLIBS)
$(BUILD)/tests/%_tool: tests/%_tool.c $(BUILD)/liblakehouse.a
	$(Q)mkdir -p $(@D) && echo "  LD  $@" && $(CC) $(CFLAGS) -Itests -MMD -MP $< $(BUILD)/liblakehouse.a -o $@ $(LDLIBS)
$(BUILD)/bench/%: bench/%.c $(BUILD)/liblakehouse.a
	$(Q)mkdir -p $(@D) && echo "  LD  $@" && $(CC) $(CFLAGS) -MMD -MP $< $(BUILD)/liblakehouse.a -o $@ $(LDLIBS)
.PHONY: fuzzers
.SECONDARY:
fuzzers: $(FUZZERS)
$(BUILD)/fuzz/%: tests/fuzz/%.c $(BUILD)/liblakehouse.a
	$(Q)mkdir -p $(@D) && echo "  LD  $@" && $(CC) $(CFLAGS) -fsanitize=fuzzer -fsanitize-link-c++-runtime $< $(BUILD)/liblakehouse.a -o $@ $(LDLIBS)

$(BUILD)/obj/vector/kernels_%.c.o: FLAGS += -O3 -ffast-math
$(BUILD)/obj/vector/graph_%.c.o: FLAGS += -O3
$(BUILD)/obj/lance/pq_kernels_%.c.o: FLAGS += -O3 -ffast-math
$(BUILD)/obj/lance/pq_kernels_avx2.c.o: FLAGS += -march=haswell
$(BUILD)/obj/lance/pq_kernels_avx512.c.o: FLAGS += -march=icelake-server
$(BUILD)/obj/vector/kernels_avx2.c.o: FLAGS += -march=haswell
$(BUILD)/obj/vector/kernels_avx512.c.o: FLAGS += -march=icelake-server
$(BUILD)/obj/tests/%.o: tests/%.c ; $(Q)mkdir -p $(@D) && echo "  CC  $<" && $(CC) $(CFLAGS) -Itests -MMD -MP -c $< -o $@
$(BUILD)/obj/%.c.o: src/%.c ; $(Q)mkdir -p $(@D) && echo "  CC  $<" && $(CC) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/obj/%.cc.o: src/%.cc ; $(Q)mkdir -p $(@D) && echo "  CXX $<" && $(CXX) $(CXXFLAGS) -MMD -MP -c $< -o $@
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
