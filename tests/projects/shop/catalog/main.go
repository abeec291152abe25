// The catalog of a shop: articles in PostgreSQL, counters in Valkey, statistics by UDP, a vault behind TLS.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	check := flag.String("check", "", "ask a URL and end")
	migrate := flag.Bool("migrate", false, "make the table and end")
	secure := flag.String("tls", "", "serve only a vault, with TLS, at an address")
	flag.Parse()
	switch {
	case *check != "":
		answer, err := http.Get(*check)
		if err != nil || answer.StatusCode != 200 {
			os.Exit(1)
		}
	case *migrate:
		db, err := pgPool(os.Getenv("DATABASE_URL"), 1)
		if err == nil {
			_, err = db.query("create table if not exists articles as select n id, 'article ' || n name from generate_series(0, 499) n")
		}
		if err != nil {
			log.Fatal(err)
		}
		log.Println("migrated")
	case *secure != "":
		vault(*secure)
	default:
		serve()
	}
}

func serve() {
	db, err := pgPool(os.Getenv("DATABASE_URL"), 8)
	if err != nil {
		log.Fatal(err)
	}
	kv := kvPool(os.Getenv("KV_ADDR"), 8)
	greeting, _ := os.ReadFile("/run/secrets/greeting")
	client := &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	fail := func(w http.ResponseWriter, err error) { http.Error(w, err.Error(), http.StatusServiceUnavailable) }
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	http.HandleFunc("/articles/", func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/articles/")
		found, err := db.query("select name from articles where id = " + id)
		if err != nil || len(found) == 0 {
			fail(w, fmt.Errorf("article %s: %v", id, err))
			return
		}
		seen, err := kv.incr("seen:" + id)
		if err != nil {
			fail(w, err)
			return
		}
		fmt.Fprintf(w, "%s%s, seen %s times\n", greeting, found[0], seen)
	})
	http.HandleFunc("/counted", func(w http.ResponseWriter, _ *http.Request) {
		c, err := net.DialTimeout("udp", os.Getenv("STATSD_ADDR"), patience)
		if err != nil {
			fail(w, err)
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		answer := make([]byte, 100)
		c.Write([]byte("page:1|c"))
		n, err := c.Read(answer)
		if err != nil {
			fail(w, err)
			return
		}
		fmt.Fprintf(w, "%s\n", answer[:n])
	})
	http.HandleFunc("/sealed", func(w http.ResponseWriter, _ *http.Request) {
		answer, err := client.Get(os.Getenv("VAULT_URL"))
		if err != nil {
			fail(w, err)
			return
		}
		defer answer.Body.Close()
		io.Copy(w, answer.Body)
	})
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "a shop") })
	inside := http.NewServeMux()
	inside.HandleFunc("/inside", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "a port that nobody declared") })
	go func() { log.Fatal(http.ListenAndServe(":9000", inside)) }()
	log.Println("listening")
	log.Fatal(http.ListenAndServe(":8000", nil))
}

func vault(addr string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"vault"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	server := http.Server{
		Addr:      addr,
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "sealed") }),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}
