# Two commands do everything on a fresh Debian or Ubuntu machine with Go, as root:
#   make up     a running, verified cluster
#   make test   all tests, on real clusters
.DEFAULT_GOAL := help
SHELL := bash

CLUSTER ?= examples/local.yaml

# What the build and the machines need of the host, and the package that has it.
TOOLS := gcc:gcc nft:nftables iptables:iptables ipset:ipset conntrack:conntrack haproxy:haproxy ip:iproute2 sshd:openssh-server
PACKAGES := $(foreach t,$(TOOLS),$(if $(shell PATH="$$PATH:/usr/sbin:/sbin" command -v $(firstword $(subst :, ,$(t)))),,$(lastword $(subst :, ,$(t)))))
DAEMONS := $(if $(filter openssh-server,$(PACKAGES)),ssh) $(if $(filter haproxy,$(PACKAGES)),haproxy)
PACKAGES += $(if $(wildcard /usr/include/seccomp.h),,libseccomp-dev)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: up
up: bundle ## bring up $(CLUSTER) and verify it
	bin/ashlar up -f $(CLUSTER)
	bin/ashlar verify -f $(CLUSTER)

.PHONY: down
down: build ## remove $(CLUSTER)
	bin/ashlar down -f $(CLUSTER)

.PHONY: test
test: bundle unit aws selinux e2e ## all tests

.PHONY: unit
unit: bundle oracle podsecurity ## vet, and unit tests with the race detector
	go vet ./...
	ASHLAR_TEST_BUNDLE=$$(bin/ashlar bundle path) go test -race $$(go list ./... | grep -v /test/)

.PHONY: oracle
oracle: ## ask Kubernetes' own authorizers what internal/authz is asked
	cd test/oracle && go vet . && go test -count=1 .

.PHONY: podsecurity
podsecurity: bundle ## ask Pod Security Admission's own checks, and an API server, what the classes of pods let through
	cd test/podsecurity && go vet . && ASHLAR_TEST_BUNDLE=$$(../../bin/ashlar bundle path) go test -count=1 .

.PHONY: aws
aws: bundle ## plan, apply and destroy with the real tofu, before a stand-in for AWS with the real provider's schema
	ASHLAR_TEST_BUNDLE=$$(bin/ashlar bundle path) go test -count=1 ./test/awsapi
	cd test/aws && go vet ./... && ASHLAR_TOFU=$$(../../bin/ashlar bundle path)/bin/tofu go test -count=1 -timeout=30m ./...

.PHONY: selinux
selinux: bundle emulator ## pods on a booted kernel that enforces SELinux, under software emulation
	ASHLAR_TEST_BUNDLE=$$(bin/ashlar bundle path) go test -count=1 -v -timeout=30m ./test/selinux

# What boots such a machine, and what makes its disk.
.PHONY: emulator
emulator:
ifeq ($(and $(shell command -v qemu-system-x86_64),$(shell command -v mmdebstrap),$(wildcard /usr/share/keyrings/debian-archive-keyring.gpg)),)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-system-x86 seabios mmdebstrap debian-archive-keyring
endif

.PHONY: e2e
e2e: bundle suite cloud-init ## end-to-end tests on a real cluster
	-@sysctl -q -w fs.inotify.max_user_instances=1024 # two clusters at once watch more than a host's default allows
	ASHLAR=$(CURDIR)/bin/ashlar go test -count=1 -timeout=75m -v ./test/e2e

.PHONY: test-slow
test-slow: bundle suite cloud-init ## the same, with every fault at every moment
	-@sysctl -q -w fs.inotify.max_user_instances=1024
	ASHLAR=$(CURDIR)/bin/ashlar ASHLAR_SLOW=1 go test -count=1 -timeout=120m -v ./test/e2e

# What an instance of AWS has that boots in the tests. This host itself is not to be set up by it.
.PHONY: cloud-init
cloud-init:
ifeq ($(and $(shell command -v cloud-init),$(wildcard /lib/systemd/systemd),$(wildcard /usr/bin/dbus-daemon)),)
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends cloud-init systemd dbus
	touch /etc/cloud/cloud-init.disabled
endif

.PHONY: suite
suite: # Kubernetes' own NetworkPolicy tests, and what runs several at once
	cd test/netpol && go vet . && CGO_ENABLED=0 go test -c -o ../../bin/netpol.test . && CGO_ENABLED=0 go build -o ../../bin/ginkgo github.com/onsi/ginkgo/v2/ginkgo

.PHONY: netpol
netpol: bundle suite ## run all of Kubernetes' own NetworkPolicy tests, on a real cluster
	ASHLAR=$(CURDIR)/bin/ashlar ASHLAR_NETPOL=Netpol go test -count=1 -timeout=60m -v -run '^TestNetpol$$' ./test/e2e

.PHONY: bench
bench: bundle ## measure, as JSON
	@ASHLAR=$(CURDIR)/bin/ashlar go run ./test/bench
	@go test ./internal/authz -run '^$$' -bench . >&2

.PHONY: bench-network
bench-network: bundle ## measure the network of pods, as JSON
	@ASHLAR=$(CURDIR)/bin/ashlar go run ./test/bench -part network

.PHONY: scale
scale: bundle ## play many machines to a real Vault, as JSON
	@VAULT=$$(bin/ashlar bundle path)/bin/vault go run ./test/scale

.PHONY: lint
lint: ## golangci-lint, at the version that tools/go.mod pins
	go tool -modfile=tools/go.mod golangci-lint run
	cd test/aws && go tool -modfile=../../tools/go.mod golangci-lint run -c ../../.golangci.yml ./...
	cd test/podsecurity && go tool -modfile=../../tools/go.mod golangci-lint run -c ../../.golangci.yml ./...

.PHONY: build
build: packages ## bin/ashlar
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -o bin/ashlar ./cmd/ashlar

.PHONY: bundle
bundle: build ## all software of a cluster, from pinned modules (about 15 minutes the first time)
	bin/ashlar bundle build

.PHONY: packages
packages:
ifneq ($(strip $(PACKAGES)),)
	apt-get update -qq
	@# Machines use the programs; this host gets no daemon for it, now or at its next start.
	@set -e; policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' > $$policy; chmod 755 $$policy; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; fi; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES); \
	for unit in $(DAEMONS); do if command -v systemctl > /dev/null; then systemctl --quiet disable $$unit; fi; done
endif
