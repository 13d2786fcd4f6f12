"""What talks to a device family; the player knows them by ``protocols`` alone."""
