package upstream

import (
	"bytes"
	"os"
	"strconv"
)

// memoryOf returns the bytes of memory that the processes of a group have for
// themselves, without files that are mapped and what is swapped out.
func memoryOf(group int) int64 {
	proc, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1) // processes come and go meanwhile
	var sum int64
	for _, pid := range names {
		if pid[0] < '0' || pid[0] > '9' {
			continue
		}
		if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && groupIn(stat) == group {
			statm, _ := os.ReadFile("/proc/" + pid + "/statm")
			sum += privateIn(statm)
		}
	}
	return sum
}

// groupIn returns the process group in /proc/pid/stat: the third field after
// the name of the command, which may have blanks and parentheses in it.
func groupIn(stat []byte) int {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 3 {
		return 0
	}
	group, _ := strconv.Atoi(string(fields[2]))
	return group
}

// privateIn returns the bytes in /proc/pid/statm that are resident and not
// shared: its second field less the third, in pages.
func privateIn(statm []byte) int64 {
	fields := bytes.Fields(statm)
	if len(fields) < 3 {
		return 0
	}
	resident, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	shared, _ := strconv.ParseInt(string(fields[2]), 10, 64)
	return (resident - shared) * int64(os.Getpagesize())
}
