package statusmemo

import (
	"fmt"
	"testing"
)

func TestKept(t *testing.T) {
	var k Kept[int]
	k.Put("a", 1)
	k.Put("a", 2)
	if len(k) != 1 || k["a"] != 2 {
		t.Errorf("%v", k)
	}
	for i := range atRest {
		if k.Trim(); k == nil {
			t.Fatalf("%d answers were given up", i+1)
		}
		k.Put(fmt.Sprint(i), i)
	}
	if k.Trim(); k != nil {
		t.Errorf("%d answers stay", len(k))
	}
	for i := range most {
		k.Put(fmt.Sprint(i), i)
	}
	if len(k) != most {
		t.Fatalf("%d answers", len(k))
	}
	k.Put("1", -1) // is there: nothing goes
	if len(k) != most || k["1"] != -1 || k["2"] != 2 {
		t.Errorf("%d answers, %d, %d", len(k), k["1"], k["2"])
	}
	k.Put("new", 7)
	if len(k) != most || k["new"] != 7 {
		t.Errorf("%d answers, the new one is %d", len(k), k["new"])
	}
}
