package numset

import "testing"

func TestAppendOrdered(t *testing.T) {
	for _, row := range []struct {
		numbers []uint32
		want    string
	}{
		{nil, ""},
		{[]uint32{7}, "7"},
		{[]uint32{5, 2, 3, 4, 1}, "5,2:4,1"},
		{[]uint32{3, 2, 1}, "3,2,1"}, // 3:1 would be read as 1:3
		{[]uint32{1, 2, 1, 2}, "1:2,1:2"},
		{[]uint32{1<<32 - 2, 1<<32 - 1}, "4294967294:4294967295"},
	} {
		if got := string(AppendOrdered(nil, row.numbers)); got != row.want {
			t.Errorf("%v: got %s, want %s", row.numbers, got, row.want)
		}
	}
}
