# Chats from PowerShell, Windows PowerShell 5.1 included. Needs in the environment:
#   $env:LGW_URL = 'http://192.168.1.2:7000'; $env:LGW_TOKEN = 'lgw_...'
$ErrorActionPreference = 'Stop'

function Send-Json([string] $Path, $Body) {
    $request = @{
        Uri             = $env:LGW_URL + $Path
        Method          = 'Post'
        Headers         = @{ Authorization = "Bearer $env:LGW_TOKEN" }
        # Without the charset, PowerShell before 7.4 sends Latin-1: the gateway refuses its letters, and all others become `?`.
        ContentType     = 'application/json; charset=utf-8'
        # Its own default depth of 2 would cut nested objects.
        Body            = ConvertTo-Json $Body -Depth 10 -Compress
        UseBasicParsing = $true
    }
    $answer = Invoke-WebRequest @request
    # 5.1 reads answers that name no charset as Latin-1; the bytes are right.
    [Text.Encoding]::UTF8.GetString($answer.RawContentStream.ToArray()) | ConvertFrom-Json
}

$messages = @(@{ role = 'user'; content = 'Explain MQTT in one sentence.' })

# Ollama's chat object. Without a model, the default model answers.
$answer = Send-Json '/chat' @{ messages = $messages; options = @{ num_predict = 64 } }
$answer.message.content

# OpenAI's API takes the name of a model.
$answer = Send-Json '/v1/chat/completions' @{ model = $answer.model; messages = $messages; max_tokens = 64 }
$answer.choices[0].message.content
