module shop/catalog

go 1.21
