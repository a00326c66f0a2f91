package v1alpha1

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxFileSize is the size in bytes above which a cluster file is refused unread. Nobody writes one this long, and
// it bounds what a malicious one can cost.
const MaxFileSize = 1 << 20

// parse turns the file into the one tree of YAML that it must be.
func parse(r []byte) (*yaml.Node, Errors) {
	if len(r) > MaxFileSize {
		return nil, Errors{{Message: "is larger than 1 MiB; a cluster file has a few dozen lines"}}
	}
	if errs := checkText(r); errs != nil {
		return nil, errs
	}
	decoder := yaml.NewDecoder(bytes.NewReader(r))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if errors.Is(err, io.EOF) || err == nil && first.Content[0].ShortTag() == "!!null" && !special(first.Content[0]) {
		return nil, Errors{{Line: 1, Message: "is empty; `ashlar init` writes one to start from"}}
	}
	if err != nil {
		return nil, syntaxErrors(r, err)
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, Errors{{Line: second.Content[0].Line, Message: "has a second YAML document; write one file for each cluster"}}
	case !errors.Is(err, io.EOF):
		return nil, syntaxErrors(r, err)
	}
	return first.Content[0], nil
}

// checkText refuses what is no text, by the first character that shows it.
func checkText(r []byte) Errors {
	line := 1
	for i := 0; i < len(r); {
		c, size := utf8.DecodeRune(r[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			return Errors{{Line: line, Message: "is not UTF-8 text"}}
		case c == '\n':
			line++
		case unicode.IsControl(c) && c != '\t' && c != '\r':
			return Errors{{Line: line, Message: "has the control character " + strconv.QuoteRuneToASCII(c)}}
		}
		i += size
	}
	return nil
}

var (
	tabIndent     = regexp.MustCompile(`^ *\t`)
	syntaxError   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	parserError   = regexp.MustCompile(`^did not find expected (<|node content|'-' indicator|key|',' or)`)
)

// syntaxErrors puts the parser's error into our form. Tabs get their own, as the parser's is about tokens.
func syntaxErrors(r []byte, err error) Errors {
	var errs Errors
	for i, line := range strings.Split(string(r), "\n") {
		if tabIndent.MatchString(line) {
			errs = append(errs, Error{Line: i + 1, Message: "is indented with a tab; YAML allows only spaces"})
		}
	}
	if errs != nil {
		return errs
	}
	found := syntaxError.FindStringSubmatch(err.Error())
	if found == nil {
		found = []string{"", "", err.Error()}
	}
	line, _ := strconv.Atoi(found[1]) // none if it is the first
	message, where := found[2], ""
	if anchor := unknownAnchor.FindStringSubmatch(message); anchor != nil {
		line = 1 + bytes.Count(r[:max(0, bytes.Index(r, []byte("*"+anchor[1])))], []byte("\n"))
	} else if parserError.MatchString(message) {
		// The parser counts these from 0, and at the beginning of the list or mapping that it could not finish.
		line, where = line+1, ", here or further down"
	}
	last := 1 + bytes.Count(bytes.TrimSpace(r), []byte("\n")) // what is never closed would be an error behind the end
	return Errors{{Line: min(max(1, line), last), Message: "is not YAML" + where + ": " + message}}
}
