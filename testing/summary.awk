# Prints what `cargo test` found, from its output: a line for each suite, and the failed tests again. Only POSIX awk.

# The output of a suite begins with one of these lines.
/^ +Running .*\(.*\)$/ {
    name = $NF
    gsub(/^\(.*\/|\)$/, "", name)
    sub(/-[0-9a-f]+$/, "", name)
    # A program and a library of one crate have one name.
    begin($3 ~ /main\.rs$/ && $2 == "unittests" ? name " (program)" : name)
    next
}
/^ +Doc-tests / { begin($2 " (examples)"); next }

/^running [0-9]+ tests?$/ { open = 1 }

# test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.05s
/^test result: / && suite {
    line = $0
    sub(/^test result: [^.]*\. /, "", line)
    passed[suite] += line
    failed[suite] += number(line, "passed; ")
    ignored[suite] += number(line, "failed; ")
    seconds[suite] += number(line, "finished in ")
    open = list = 0
    next
}

# ---- tests::a stdout ----
# thread 'tests::a' panicked at src/a.rs:3:5:
# assertion `left == right` failed
/^---- .* ----$/ { test = $2; next }
test && / panicked at / && !location {
    location = $0
    sub(/^.* panicked at /, "", location)
    sub(/:[0-9]+:$/, "", location)
    next
}
test && location { reason[test] = location ": " $0; test = location = ""; next }

# The names of the failed tests are listed at the end, below a line of their own.
/^failures:$/ { list = 1; test = location = ""; next }
list && /^    [^ ]/ { fail($1, reason[$1]) }

# The end-to-end tests print why.
/^FAILED / {
    name = $2
    sub(/:$/, "", name)
    line = $0
    sub(/^FAILED [^ ]+ ?/, "", line)
    fail(name, line)
}

# A suite can also fail as a whole: a process that is killed, or a check after the last test.
/^error: test failed, to rerun pass / && suite { broken[suite] = 1 }
/^error: doctest failed, to rerun pass / && suite { broken[suite] = 1 }
/^error(\[E[0-9]+\])?: / && !/^error: ([0-9]+ targets? failed|(doc)?test failed)/ { errors[++error_count] = $0 }

END {
    printf "\n%-28s %7s %7s %8s %8s\n", "suite", "passed", "failed", "ignored", "seconds"
    for (i = 1; i <= suites; i++) {
        name = order[i]
        if (unfinished[name] || name == suite && open) {
            broken[name] = 1
        }
        if (broken[name] && !(name in failures)) {
            failures[name] = 0
            fail_as(name, "(suite)", "failed outside of a test: see the log")
        }
        if (passed[name] + failed[name] + ignored[name] + (name in failures) == 0) {
            continue
        }
        printf "%-28s %7d %7d %8d %8.1f\n", name, passed[name], failed[name], ignored[name], seconds[name]
        all_passed += passed[name]; all_failed += failed[name]; all_ignored += ignored[name]; all_seconds += seconds[name]
    }
    printf "%-28s %7d %7d %8d %8.1f\n", "all", all_passed, all_failed, all_ignored, all_seconds
    for (i = 1; i <= count; i++) {
        printf "FAILED %s\n", message[i]
    }
    for (i = 1; i <= error_count && i <= 5; i++) {
        print errors[i]
    }
    if (suites == 0) {
        print "no test was run"
    }
}

function begin(name) {
    if (suite && open) {
        unfinished[suite] = 1
    }
    # Two crates can have suites of the same name.
    while (name in known) {
        name = name "'"
    }
    known[name] = 1
    suite = name
    order[++suites] = name
    open = list = 0
    test = location = ""
    split("", reason)
}

# The number after a text of the line.
function number(line, text,    at) {
    at = index(line, text)
    return at ? substr(line, at + length(text)) + 0 : 0
}

# A failed test can be named more than once: the reason is added to the line without one, and another reason is another line.
function fail(name, why) {
    fail_as(suite, name, why)
}

function fail_as(suite, name, why,    text) {
    failures[suite] += 1
    text = suite ": " name (why == "" ? "" : ": " why)
    if (text in told || why == "" && (suite, name) in at) {
        return
    }
    if ((suite, name) in at && bare[suite, name]) {
        message[at[suite, name]] = text
    } else {
        message[++count] = text
        at[suite, name] = count
    }
    told[text] = 1
    bare[suite, name] = why == ""
}
