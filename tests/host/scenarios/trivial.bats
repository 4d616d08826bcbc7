@test "it runs" { true; }
