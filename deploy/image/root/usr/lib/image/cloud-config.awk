# Reads the part of #cloud-config that docs/how-to/images.md names and writes it as files into the folder `out`.
# What it doesn't know it prints, one line each, so that the console says what was left undone.

function indent_of(text) { match(text, /^ */); return RLENGTH }

# A plain or quoted scalar without its quotes; a comment after a plain one is dropped.
function scalar(text,   quote, inner) {
    sub(/^ +/, "", text); sub(/[ \r]+$/, "", text)
    quote = substr(text, 1, 1)
    if (quote == "\"" && match(text, /^"([^"\\]|\\.)*"/)) {
        inner = substr(text, 2, RLENGTH - 2)
        gsub(/\\\\/, "\001", inner); gsub(/\\"/, "\"", inner); gsub(/\\n/, "\n", inner); gsub(/\\t/, "\t", inner)
        gsub("\001", "\\", inner)
        return inner
    }
    if (quote == "'" && match(text, /^'([^']|'')*'/)) {
        inner = substr(text, 2, RLENGTH - 2)
        gsub(/''/, "'", inner)
        return inner
    }
    sub(/ +#.*$/, "", text)
    return text
}

function shell_quoted(text) { gsub(/'/, "'\\''", text); return "'" text "'" }

# A runcmd of the form [a, "b c"]: a command and its arguments, none of them seen by the shell.
function command_from_list(text,   rest, word, command) {
    rest = text; sub(/^\[ */, "", rest); sub(/\] *$/, "", rest)
    while (rest != "") {
        if (match(rest, /^"([^"\\]|\\.)*"/) || match(rest, /^'([^']|'')*'/) || match(rest, /^[^,]+/)) {
            word = substr(rest, 1, RLENGTH); rest = substr(rest, RLENGTH + 1)
        } else { word = ""; rest = substr(rest, 2) }
        if (word != "") command = command (command == "" ? "" : " ") shell_quoted(scalar(word))
        sub(/^ *,? */, "", rest)
    }
    return command
}

function add_item(section, text) {
    if (section == "ssh_authorized_keys") print scalar(text) >> (out "/keys")
    else if (section == "runcmd") {
        if (!commands++) print "#!/bin/sh" > (out "/script")
        print (text ~ /^\[/ ? command_from_list(text) : scalar(text)) >> (out "/script")
    }
}

function file_name() { return out "/file-" sprintf("%03d", files) }

function set_field(name, text) {
    if (name == "path") print scalar(text) > (file_name() ".path")
    else if (name == "content") printf "%s", scalar(text) > (file_name() ".content")
    else if (name == "permissions") print scalar(text) > (file_name() ".mode")
    else if (name == "owner") print scalar(text) > (file_name() ".owner")
    else if (name == "append") { if (scalar(text) == "true") print "" > (file_name() ".append") }
    else print "write_files: " name " is not supported"
}

# The text of a block (| or >) has ended.
function end_block() {
    if (block == "") return
    if (block_style ~ /-/) sub(/\n+$/, "", block_text); else sub(/\n+$/, "\n", block_text)
    if (block_style ~ /^>/) { gsub(/\n/, " ", block_text); sub(/ +$/, block_style ~ /-/ ? "" : "\n", block_text) }
    if (block == "content") printf "%s", block_text > (file_name() ".content")
    else {
        if (!commands++) print "#!/bin/sh" > (out "/script")
        printf "%s\n", block_text >> (out "/script")
    }
    block = ""
}

function start_block(name, style, at) { block = name; block_style = style; block_text = ""; block_at = at; block_indent = -1 }

{ sub(/\r$/, "") }

block != "" {
    if ($0 ~ /^ *$/) { block_text = block_text "\n"; next }
    if (indent_of($0) > block_at) {
        if (block_indent < 0) block_indent = indent_of($0)
        block_text = block_text substr($0, block_indent + 1) "\n"
        next
    }
    end_block()
}

/^ *(#.*)?$/ { next }

/^[A-Za-z_-]+:/ {
    section = $0; sub(/:.*/, "", section)
    value = $0; sub(/^[^:]*: */, "", value); sub(/^#.*/, "", value)
    if (section == "hostname") print scalar(value) > (out "/hostname")
    else if (section == "password") print scalar(value) > (out "/password")
    else if (section ~ /^(ssh_authorized_keys|runcmd|write_files)$/) {
        if (value !~ /^ *$/ && value !~ /^\[ *\]/) { print section ": a list must have one item a line"; section = "" }
    }
    else { print section " is not supported"; section = "" }
    next
}

section == "write_files" {
    line = $0; at = indent_of(line)
    if (line ~ /^ *- /) { files++; sub(/- /, "  ", line); at = indent_of(line); printf "" > (file_name() ".content") }
    name = line; sub(/^ */, "", name); sub(/:.*/, "", name)
    value = line; sub(/^[^:]*: */, "", value)
    if (name == "content" && value ~ /^[|>][-+]? *$/) start_block("content", value, at)
    else set_field(name, value)
    next
}

section == "ssh_authorized_keys" || section == "runcmd" {
    at = indent_of($0)
    value = $0; sub(/^ *- */, "", value)
    if ($0 !~ /^ *- /) print section ": cannot read the line " $0
    else if (value ~ /^- /) print section ": write a nested list as [a, b]: " value
    else if (value ~ /^[|>][-+]? *$/) start_block("runcmd", value, at)
    else add_item(section, value)
}

END { end_block() }
