# `just verify` changes nothing; `just fix` does.

# Everything that must hold before a change lands.
verify:
    cargo fmt --all --check
    cd tests/simulation && cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    cd tests/simulation && cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    cargo build --workspace --bins
    cargo nextest run --workspace
    cd tests/simulation && cargo nextest run

# Formatting and what clippy can mend by itself.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all
    cd tests/simulation && cargo fmt
