package secret

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestNeverPrints(t *testing.T) {
	s := FromString("hunter2")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T%v"} {
		args := []any{s}
		if verb == "%T%v" {
			args = append(args, s)
		}
		if got := fmt.Sprintf(verb, args...); got != "<7 bytes>" && got != "secret.Bytes<7 bytes>" {
			t.Errorf("%s printed %q", verb, got)
		}
	}
	if got := fmt.Sprintf("%+v", struct{ P Bytes }{s}); got != "{P:<7 bytes>}" {
		t.Error(got)
	}
	j, err := json.Marshal(map[string]any{"p": s})
	if err != nil || string(j) != `{"p":"\u003c7 bytes\u003e"}` {
		t.Error(string(j), err)
	}
}

func TestEqualAndWipe(t *testing.T) {
	s := FromString("abc")
	if !s.Equal(FromString("abc")) || s.Equal(FromString("abd")) || s.Equal(FromString("ab")) {
		t.Error("Equal is wrong")
	}
	s.Wipe()
	if string(s.Reveal()) != "\x00\x00\x00" || s.Len() != 3 {
		t.Error("Wipe left something")
	}
}
