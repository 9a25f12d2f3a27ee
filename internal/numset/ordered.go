package numset

import "strconv"

// AppendOrdered writes numbers as a sequence-set that keeps their order:
// "5,2:4,1". Only numbers that ascend one by one are put in a range, so that its
// reading in either way is theirs (RFC 5267 §3.1). No numbers write nothing.
func AppendOrdered(dst []byte, numbers []uint32) []byte {
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(numbers[i]), 10)
		if j > i {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(numbers[j]), 10)
		}
		i = j + 1
	}
	return dst
}
