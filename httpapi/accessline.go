package httpapi

import (
	"encoding/json"
	"strconv"
	"time"
)

// appendLine appends a as json.Marshal writes it, and a newline. It is written by
// hand as there is a line for each zip.
func (a Access) appendLine(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = a.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	b = appendText(b, "client", a.Client)
	if a.Actor != "" {
		b = appendText(b, "actor", a.Actor)
	}
	if a.Token != "" {
		b = appendText(b, "token", a.Token)
	}
	b = appendText(b, "repository", a.Repo)
	if a.Via != "" {
		b = appendText(b, "via", a.Via)
	}
	b = appendText(b, "module", a.Module)
	b = appendText(b, "version", a.Version)
	b = appendText(b, "kind", a.Kind)
	b = appendNumber(b, "status", int64(a.Status))
	b = appendNumber(b, "bytes", a.Bytes)
	if a.Cut {
		b = append(b, `,"cut":true`...)
	}
	if a.Dropped != 0 {
		b = appendNumber(b, "dropped", a.Dropped)
	}
	return append(b, "}\n"...)
}

func appendKey(b []byte, name string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	return append(b, `":`...)
}

func appendNumber(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(appendKey(b, name), v, 10)
}

// appendText appends a text, of whatever bytes, as a JSON string in one line.
func appendText(b []byte, name, text string) []byte {
	b = appendKey(b, name)
	for _, c := range []byte(text) {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(text) // a string
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}
