# Chats from PowerShell, Windows PowerShell 5.1 included. Needs in the environment:
#   $env:LGW_URL = 'http://192.168.1.2:7000'; $env:LGW_USER = 'you@company.com'; $env:LGW_PASSWORD = '...'
$ErrorActionPreference = 'Stop'

function Send-Json([string] $Path, $Body, [hashtable] $Headers = @{}) {
    $request = @{
        Uri             = $env:LGW_URL + $Path
        Method          = 'Post'
        Headers         = $Headers
        # Without the charset, Windows PowerShell 5.1 sends Latin-1, and the gateway refuses what is not UTF-8.
        ContentType     = 'application/json; charset=utf-8'
        # Its own default depth of 2 would cut nested objects.
        Body            = ConvertTo-Json $Body -Depth 10 -Compress
        UseBasicParsing = $true
    }
    $answer = Invoke-WebRequest @request
    # 5.1 reads answers as Latin-1, too; the bytes are right.
    [Text.Encoding]::UTF8.GetString($answer.RawContentStream.ToArray()) | ConvertFrom-Json
}

$messages = @(@{ role = 'user'; content = 'Explain MQTT in one sentence.' })

# With the password in the body.
$auth = @{ username = $env:LGW_USER; password = $env:LGW_PASSWORD }
$answer = Send-Json '/chat' @{ auth = $auth; messages = $messages; options = @{ num_predict = 64 } }
$answer.message.content

# With a token, which is valid for an hour.
$token = (Send-Json '/auth/token' $auth).access_token
$answer = Send-Json '/chat' @{ messages = $messages; options = @{ num_predict = 64 } } @{ Authorization = "Bearer $token" }
$answer.message.content
