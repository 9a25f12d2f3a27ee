package show

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestStream(t *testing.T) {
	var b strings.Builder
	s := NewStream(&b, false)
	for i := range flushRows + 1 {
		if err := s.Row(fmt.Appendf(nil, `{"uid":%d,"x":"y"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != flushRows+3 || lines[0] != "uid  x" || lines[flushRows+1] != "500  y" || strings.Count(b.String(), "uid") != 1 {
		t.Errorf("%d lines: %q … %q", len(lines), lines[0], lines[flushRows+1])
	}
	if err := NewStream(&b, false).Row([]byte(`"no object"`)); err == nil {
		t.Error("a string was taken for an object")
	}
	if err := NewStream(&b, true).Row([]byte(`{"a":`)); err == nil {
		t.Error("half an object was printed")
	}
}

// What a user can put into a subject must not reach the terminal, and must still
// be read back by a program.
func TestStreamIsSafe(t *testing.T) {
	hostile := "a\u009b31m\u202eb\u007fc\x00\x1b[2Jé\n"
	row, err := json.Marshal(map[string]string{"subject": hostile})
	if err != nil {
		t.Fatal(err)
	}
	for _, asJSON := range []bool{false, true} {
		var b strings.Builder
		s := NewStream(&b, asJSON)
		if err := s.Row(row); err != nil {
			t.Fatal(err)
		}
		s.Row(row)
		s.Close()
		if strings.ContainsFunc(strings.ReplaceAll(b.String(), "\n", ""), unsafe) {
			t.Errorf("json %t: %q", asJSON, b.String())
		}
		if !asJSON {
			continue
		}
		var back []map[string]string
		if err := json.Unmarshal([]byte(b.String()), &back); err != nil || len(back) != 2 || back[1]["subject"] != hostile {
			t.Errorf("%q %v", back, err)
		}
	}
	var b strings.Builder
	NewStream(&b, true).Close()
	if b.String() != "[]\n" {
		t.Errorf("%q", b.String())
	}
}
