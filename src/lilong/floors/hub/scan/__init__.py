"""What files say of themselves, read without running or trusting them: tensor headers, pickles, secrets, licences."""
