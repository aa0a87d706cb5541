// A load generator: load ADDRESS CONNECTIONS SECONDS PATH... prints one JSON object.
//
// Each connection sends one request after the other and reads just enough of the answer to find its end, so that the
// generator is not what is measured.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

type result struct {
	times []int64
	bytes int64
	bad   int
}

func worker(address string, paths []string, start int, until time.Time) (found result) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		found.bad++
		return
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 1<<18)
	requests := make([][]byte, len(paths))
	for i, path := range paths {
		requests[i] = []byte("GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n")
	}
	for i := start; time.Now().Before(until); i++ {
		began := time.Now()
		if _, err := conn.Write(requests[i%len(requests)]); err != nil {
			found.bad++
			return
		}
		status, err := reader.ReadSlice('\n')
		if err != nil {
			found.bad++
			return
		}
		ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200"))
		length := -1
		for {
			line, err := reader.ReadSlice('\n')
			if err != nil {
				found.bad++
				return
			}
			if len(line) <= 2 {
				break
			}
			if len(line) > 15 && (line[0] == 'C' || line[0] == 'c') && bytes.EqualFold(line[:15], []byte("content-length:")) {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(line[15:])))
			}
		}
		if length < 0 || !ok {
			found.bad++
			return
		}
		if _, err := io.CopyN(io.Discard, reader, int64(length)); err != nil {
			found.bad++
			return
		}
		found.bytes += int64(length)
		found.times = append(found.times, time.Since(began).Nanoseconds())
	}
	return
}

func main() {
	connections, _ := strconv.Atoi(os.Args[2])
	seconds, _ := strconv.ParseFloat(os.Args[3], 64)
	began := time.Now()
	until := began.Add(time.Duration(seconds * float64(time.Second)))
	results := make([]result, connections)
	var group sync.WaitGroup
	for i := range results {
		group.Add(1)
		go func() {
			defer group.Done()
			results[i] = worker(os.Args[1], os.Args[4:], i, until)
		}()
	}
	group.Wait()
	elapsed := time.Since(began).Seconds()
	var times []int64
	var size int64
	bad := 0
	for _, each := range results {
		times = append(times, each.times...)
		size += each.bytes
		bad += each.bad
	}
	if len(times) == 0 {
		fmt.Fprintln(os.Stderr, "no request was answered")
		os.Exit(1)
	}
	sort.Slice(times, func(a, b int) bool { return times[a] < times[b] })
	at := func(part float64) float64 { return float64(times[int(part*float64(len(times)-1))]) / 1e6 }
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"requests": len(times), "rps": float64(len(times)) / elapsed, "bytes": size, "bad": bad,
		"p50": at(0.5), "p99": at(0.99), "p999": at(0.999),
	})
}
