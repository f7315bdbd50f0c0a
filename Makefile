# Everything a newcomer, a developer and CI need; each target is a script that can be read.
.PHONY: help run demo test hostile check release bench fixture million

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

# No shell stands between make and a script, so that make waits for what a Ctrl-C starts.
export PORT QUICK

run: ## set up and start the gateway on port 7000 (PORT=7001 for another), with a real Ollama and model
	@scripts/run.sh

demo: ## walk the whole path once on a fresh data folder: accounts, chat, stream, limit, export
	@scripts/demo.sh

test: ## install what the tests need and run them all
	@scripts/test.sh

hostile: ## send 10,000 schemas that nobody should send through a gateway to a real Ollama of its own
	@tests/hostile/run.sh

release: ## build the gateway as it is best installed, target/dist/lan-gateway, in a quarter of an hour
	@scripts/release.sh

bench: ## measure that beside nginx, speed and memory, in another (QUICK=1: a plain build, in two minutes)
	@scripts/bench.sh

fixture: ## write a record of a million rows into target/fixture, once
	@scripts/fixture.sh

million: ## measure search, usage, export, deletion and start on that record, in ten minutes
	@scripts/million.sh

check: ## formatting and lints only
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
